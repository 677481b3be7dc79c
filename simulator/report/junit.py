"""A result as JUnit XML, so that any CI shows it as tests: levels, ledger, honesty, conservation.

Pure. INVALID and INTERRUPTED are errors, broken levels failures: a CI that reads only this file draws the
same conclusion as one that reads the exit code.
"""

import re
import xml.etree.ElementTree as ET  # only writes; nothing foreign is parsed

from ..result import Level, Result
from ..verdict import death_of, sentence

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold."""


def junit_xml(result: Result) -> str:
    """One test suite per run; one case per service level, and for the ledger, the server and the harness."""
    suite = ET.Element("testsuite", name=f"vouchstorm.{_legal(str(result.scenario.get('name', 'run')))}")
    _properties(suite, result)
    for level in result.slo:
        _case(
            suite, result, "slo", level.name, failure="" if level.held else sentence(level), said=_said(level)
        )
    _case(suite, result, "ledger", "balanced", error=_unbalanced(result))
    _case(suite, result, "server", "stays up", failure=death_of(result))
    _case(suite, result, "harness", "honest", error=_doubt(result))
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    suite.set("skipped", "0")
    suite.set("time", f"{result.duration_s:.3f}")
    suite.set("timestamp", _legal(result.started_at))
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _properties(suite: ET.Element, result: Result) -> None:
    held = {
        "verdict": result.verdict,
        "seed": str(result.seed),
        "target": result.target,
        **{f"version.{name}": version for name, version in result.versions.items()},
    }
    listed = ET.SubElement(suite, "properties")
    for name, value in held.items():
        ET.SubElement(listed, "property", name=_legal(name), value=_legal(value))


def _case(
    suite: ET.Element,
    result: Result,
    room: str,
    name: str,
    *,
    failure: str = "",
    error: str = "",
    said: str = "",
) -> None:
    scenario = _legal(str(result.scenario.get("name", "run")))
    case = ET.SubElement(suite, "testcase", classname=f"{scenario}.{room}", name=_legal(name), time="0")
    for kind, text in (("failure", failure), ("error", error)):
        if text:
            ET.SubElement(case, kind, message=_legal(text.splitlines()[0])).text = _legal(text)
    if said:
        ET.SubElement(case, "system-out").text = _legal(said)


def _said(level: Level) -> str:
    unit = f" {level.unit}" if level.unit else ""
    measured = "nothing" if level.measured is None else f"{level.measured:g}{unit}"
    bound = "at most" if level.at_most else "at least"
    return f"{level.meaning}: {measured}, {bound} {level.limit:g}{unit}"


def _unbalanced(result: Result) -> str:
    return "" if result.ledger.balanced else "The expected messages are not the sum of their classes."


def _doubt(result: Result) -> str:
    """Why the run must not be believed; empty when it may be."""
    if result.verdict in ("INVALID", "INTERRUPTED"):
        return "\n".join([f"{result.verdict}.", *result.reasons])
    return ""


def _legal(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
