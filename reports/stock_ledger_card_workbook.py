import io

import xlsxwriter

WIDTHS = (18, 18, 20, 20, 28, 28, 20, 14, 14, 14, 20)


class CardWorkbook:
    """A stock card as a spreadsheet, written row by row."""

    def __init__(self, decimals):
        """
        :param int decimals: of quantities
        """
        self.output = io.BytesIO()
        # Rows go to a file as they come; what is in memory is the packed result.
        self.workbook = xlsxwriter.Workbook(self.output, {"constant_memory": True})
        self.sheet = self.workbook.add_worksheet()
        number = {"num_format": "#,##0" + ("." + "0" * decimals if decimals else "")}
        date = {"num_format": "yyyy-mm-dd hh:mm:ss"}
        add = self.workbook.add_format
        self.formats = {
            False: {float: add(number), str: add(), None: add(date)},
            True: {float: add({**number, "bold": True}), str: add({"bold": True}), None: add(date)},
        }
        self.heading = add({"bold": True, "bottom": 1, "bg_color": "#e9ecef"})
        for column, width in enumerate(WIDTHS):
            self.sheet.set_column(column, column, width)
        self.row = 0

    def write_title(self, lines):
        """Write (label, text) lines."""
        for label, text in lines:
            self.write_row([label, text])
        self.row += 1

    def write_heading(self, labels):
        """Write the columns' labels, which stay in view."""
        for column, label in enumerate(labels):
            self.sheet.write_string(self.row, column, label, self.heading)
        self.row += 1
        self.sheet.freeze_panes(self.row, 0)

    def write_row(self, values, bold=False):
        """Write a row of texts, numbers and local dates; texts are never formulas.

        :param values: None leaves a cell empty
        """
        formats = self.formats[bold]
        for column, value in enumerate(values):
            if isinstance(value, str):
                self.sheet.write_string(self.row, column, value, formats[str])
            elif isinstance(value, float):
                self.sheet.write_number(self.row, column, value, formats[float])
            elif value is not None:
                self.sheet.write_datetime(self.row, column, value, formats[None])
        self.row += 1

    def close(self):
        """Return the file's bytes."""
        self.workbook.close()
        return self.output.getvalue()
