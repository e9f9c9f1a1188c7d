"""Within detection arrows point down: data < features < classifier < experiments < report."""

import ast

from tests.support.places import ROOT

ROOMS = ["data", "features", "classifier", "experiments", "report"]
PREFIX = "sourcetracing.detection."


def test_no_room_imports_one_above_it():
    upward = []
    for path in (ROOT / "sourcetracing" / "detection").glob("*/**/*.py"):
        room = path.relative_to(ROOT / "sourcetracing" / "detection").parts[0]
        imports = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = [getattr(node, "module", None) or node.names[0].name for node in imports]
        others = {name.removeprefix(PREFIX).split(".")[0] for name in names if name.startswith(PREFIX)}
        upward += [f"{path.name} -> {other}" for other in others if ROOMS.index(other) > ROOMS.index(room)]
    assert upward == []
