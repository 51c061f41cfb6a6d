"""Counts the tests of all reports and ends with 1 if one, or a whole stage, failed."""
import pathlib
import sys
import xml.etree.ElementTree


def count(report):
    """Passed, failed and skipped tests, with the names of the failed."""
    passed, skipped, failed = 0, 0, []
    for case in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{case.get('classname', '')} {case.get('name', '')}".strip())
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def main():
    folder, stages = pathlib.Path(sys.argv[1]), sys.argv[2:]
    passed, failed, skipped = 0, [], 0
    for report in sorted(folder.glob("*.xml")):
        try:
            some = count(report)
        except xml.etree.ElementTree.ParseError:
            failed.append(f"{report.name} is not readable")
            continue
        passed, failed, skipped = passed + some[0], failed + some[1], skipped + some[2]
    # A stage may end without a report (a build that breaks, a budget that is used up), and a test that fails outside
    # of its own task stands in none.
    failed += [f"stage {stage}" for stage in stages]
    print()
    for name in failed:
        print(f"failed: {name}")
    if skipped:
        print(f"{skipped} skipped")
    print(f"{passed} passed, {len(failed)} failed")
    sys.exit(1 if failed or stages or not passed else 0)


main()
