"""main.db's schema as the newest version has it, without the program: store.sql and what the migrations add."""

import re

from harness import ROOT

FOLDER = ROOT / "services/scheduler"


def newest():
    steps = re.findall(r'^    \{\d+,((?:\s*"[^"\n]*")+)\}', (FOLDER / "migrations.c").read_text(), re.MULTILINE)
    later = ["".join(re.findall(r'"([^"\n]*)"', step)) for step in steps]
    return ";\n".join([(FOLDER / "store.sql").read_text(), *later])
