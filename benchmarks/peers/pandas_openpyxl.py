"""A roster whose links are known, the usual way: pandas reads and writes it with openpyxl. Arguments: roster, results."""

import sys

import pandas

frame = pandas.read_excel(sys.argv[1], dtype=str, engine="openpyxl")
frame["link"] = (
    "https://app.healthex.invalid/#/patient-consent/demo-project/enrollment/link?xid="
    + frame["MRN"]
    + ".0123456789abcdef"
)
# Named: where xlsxwriter is installed, as it is beside batchlinks, pandas would write with that.
frame.to_excel(sys.argv[2], index=False, engine="openpyxl")
