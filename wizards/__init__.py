from . import base_partner_merge, stock_quant_relocate
