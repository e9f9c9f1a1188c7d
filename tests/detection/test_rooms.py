"""Within detection arrows point down: data < features < classifier < experiments < report."""

import ast

from tests.support.places import ROOT

ROOMS = ["data", "features", "classifier", "experiments", "report"]
PREFIX = "sourcetracing.detection."


def test_no_room_imports_one_above_it():
    upward = []
    for path in (ROOT / "sourcetracing" / "detection").glob("*/**/*.py"):
        room = path.relative_to(ROOT / "sourcetracing" / "detection").parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in getattr(node, "names", ()) if a.name]
            for other in (module.removeprefix(PREFIX).split(".")[0] for module in modules if module.startswith(PREFIX)):
                if ROOMS.index(other) > ROOMS.index(room):
                    upward.append(f"{path.name} -> {other}")
    assert upward == []
