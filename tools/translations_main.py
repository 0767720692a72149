"""Brings the translations up to date with the template, and says what is missing."""

from pathlib import Path

import polib

FOLDER = Path(__file__).resolve().parent.parent / "i18n"


def main():
    """Merge the template into each translation."""
    template = polib.pofile(FOLDER / "stock_event_ledger.pot")
    for path in sorted(FOLDER.glob("*.po")):
        translation = polib.pofile(path)
        translation.merge(template)
        for entry in translation.obsolete_entries():
            translation.remove(entry)
        translation.save()
        missing = [*translation.untranslated_entries(), *translation.fuzzy_entries()]
        print(f"{path.name}: {len(missing)} of {len(translation)} to translate")
        for entry in missing:
            print(f"  {entry.msgid!r}")


if __name__ == "__main__":
    main()
