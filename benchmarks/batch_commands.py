"""What the population benchmark runs, each as a process of its own: ``argv[1]`` is the folder of the export."""

# Last of all, each tells the processor seconds of its first process.
OWN_SECONDS = """
import atexit, sys, time
atexit.register(lambda: sys.stderr.write(f"own {time.process_time()}"))
"""

BYTES = """
import pathlib, sys
for path in pathlib.Path(sys.argv[1]).iterdir():
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            block.count(b"\\n")
"""

ORJSON = """
import orjson, pathlib, sys
for path in pathlib.Path(sys.argv[1]).iterdir():
    with path.open("rb") as file:
        for line in file:
            orjson.loads(line)
"""

# The columns that a rule could look at, one row a resource, with one thread; nothing is reviewed.
DUCKDB = """
import duckdb, pathlib, sys
concept = "STRUCT(coding STRUCT(system VARCHAR, code VARCHAR, display VARCHAR)[], text VARCHAR)"
reference = "STRUCT(reference VARCHAR)"
columns = {
    "Patient": {"id": "VARCHAR", "birthDate": "VARCHAR", "gender": "VARCHAR"},
    "Observation": {"subject": reference, "status": "VARCHAR", "code": concept, "effectiveDateTime": "VARCHAR",
                    "valueQuantity": 'STRUCT("value" DOUBLE, unit VARCHAR, code VARCHAR)'},
    "Goal": {"subject": reference},
}
drug = {"subject": reference, "status": "VARCHAR", "medicationCodeableConcept": concept, "medicationReference": reference}
db = duckdb.connect()
db.execute("SET threads = 1")
for kind in ("Patient", "Observation", "MedicationRequest", "MedicationStatement", "Condition", "Procedure", "ServiceRequest", "Goal"):
    listed = columns.get(kind) or (drug if kind.startswith("Medication") else {"subject": reference, "code": concept})
    spelt = ", ".join(f"'{name}': '{type}'" for name, type in listed.items())
    files = str(pathlib.Path(sys.argv[1]) / (kind + ".*.ndjson"))
    db.execute(f"CREATE TABLE {kind} AS SELECT * FROM read_json('{files}', format = 'newline_delimited', columns = {{{spelt}}})")
"""

REVIEW = """
from service.batch.cli import app
app()
"""

WITHOUT_HYPERSCAN = """
import sys
sys.modules["hyperscan"] = None
"""

COSTS = """
import json, pathlib, sys, tempfile, time
from service.batch.reviewing import Reviewer
from service.batch.run import Run
from service.batch.values import Options

spent, own = {}, {"lone": [0, 0.0], "other": [0, 0.0]}


def timed(name, step):
    def run(*given, **named):
        before = time.process_time()
        done = step(*given, **named)
        spent[name] = spent.get(name, 0.0) + time.process_time() - before
        return done
    return run


def by_kind(step):
    def run(self, key, records, report):
        kind = own["other" if len(records) > 1 else "lone"]
        before = time.process_time()
        done = step(self, key, records, report)
        kind[0] += 1
        kind[1] += time.process_time() - before
        return done
    return run


class Timed(Run):
    def _deliver(self, *given):
        spent["handed"] = sum(path.stat().st_size for path in self.work.glob("scanned-*"))
        return super()._deliver(*given)

    def _write(self, *given):
        spent["answers"] = sum(path.stat().st_size for path in self.work.glob("reviewed-*"))
        return super()._write(*given)


folder = pathlib.Path(sys.argv[1])
size = sum(path.stat().st_size for path in folder.iterdir())
options = Options(
    as_of=sys.argv[2], profile="nam-2011", verbosity="standard", engine="compiled", zone="UTC", validation="suspicious"
)
Timed._scan = timed("scan", Timed._scan)
Timed._review = timed("review", Timed._review)
Timed._write = timed("write", Timed._write)
Reviewer.review_patient = by_kind(Reviewer.review_patient)
with tempfile.TemporaryDirectory() as out:
    told = Timed(pathlib.Path(out) / "out").review([folder], options).told
patients, said = told["patients"]["in"], told["patients"]["in"] - told["patients"]["nothing_to_say"]
print(json.dumps({
    "scanning a megabyte (processor milliseconds)": spent["scan"] / size * 1e9,
    "reviewing a patient of whom there is only a Patient resource (processor microseconds)": own["lone"][1] / own["lone"][0] * 1e6,
    "reviewing a patient of whom there is more (processor microseconds)": own["other"][1] / max(own["other"][0], 1) * 1e6,
    "patients of whom there is more (percent)": 100 * own["other"][0] / patients,
    "review step, a patient (processor microseconds)": spent["review"] / patients * 1e6,
    "writing the results of a patient about whom something is said (processor microseconds)": spent["write"] / max(said, 1) * 1e6,
    "handed from scan to review, a patient (bytes)": spent["handed"] / patients,
    "handed from review to results, a patient about whom something is said (bytes)": spent["answers"] / max(said, 1),
    "input, a patient (bytes)": size / patients,
}))
"""
