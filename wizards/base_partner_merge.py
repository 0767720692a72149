from odoo import api, models


class MergePartnerAutomatic(models.TransientModel):
    _inherit = "base.partner.merge.automatic.wizard"

    @api.model
    def _update_foreign_keys(self, src_partners, dst_partner):
        # Before the statement that would change the owner behind the ledger's back.
        src_partners._change_owner_of_stock(dst_partner)
        return super()._update_foreign_keys(src_partners, dst_partner)
