"""Imports point down: Roles -> Services, Control -> Storage -> Runtime -> System.

SwiftPM compiles an import that the manifest does not declare, so the sources are read as well.
"""
import house

# Values only: no clock, no socket, no file.
# Sharding reads the wall clock for Timestamp.now, from Glibc.
PURE = {
    "Sharding": {"Glibc"}, "Contracts": {"Sharding", "JSON"}, "Coordination": {"Sharding", "JSON"}}
SERVICES_MAY_USE_SERVICES = {"Contracts", "ServiceKit"}
# The operator's tool and the control plane must not depend on a product feature.
WITHOUT_SERVICES = {"shardctl", "coordinator"}
# Modules of the toolchain; everything else is a target or a product of the manifest.
TOOLCHAIN = {"Glibc", "Synchronization", "_Concurrency", "Swift", "RegexBuilder", "Testing", "Dispatch"}
IMPURE = {"Glibc", "Dispatch", "Foundation", "EventLoops", "CLibuv"}


def uses(target):
    return house.manifest()[target][1] | house.imports(target)


def test_each_module_lies_in_its_layer():
    strays = [
        f"{name}: {path}" for name, (path, _) in house.manifest().items()
        if path.startswith("Sources/") and (house.layer(name) not in house.RANK
                                            or path.split("/")[2] != name)]

    assert not strays


def test_imports_point_down():
    wrong = [
        f"{target} ({house.layer(target)}) uses {other} ({house.layer(other)})"
        for target in house.modules() for other in sorted(uses(target))
        if house.layer(other) and (
            house.RANK[house.layer(other)] > house.RANK[house.layer(target)]
            or {house.layer(target), house.layer(other)} == {"Services", "Control"})]

    assert not wrong


def test_services_never_import_one_another():
    wrong = [
        f"{service} uses {other}"
        for service in house.modules("Services") for other in sorted(uses(service) - {service})
        if house.layer(other) == "Services" and other not in SERVICES_MAY_USE_SERVICES]

    assert not wrong


def test_roles_never_import_one_another():
    wrong = [
        f"{role} uses {other}" for role in house.modules("Roles") for other in sorted(uses(role))
        if house.layer(other) == "Roles" and other != role]

    assert not wrong


def test_pure_modules_import_no_io():
    present = house.modules()
    wrong = [
        f"{module} uses {other}"
        for module, allowed in PURE.items() if module in present
        for other in sorted(uses(module) - allowed - {module})
        if house.layer(other) or other in IMPURE]

    assert not wrong


def test_the_operators_tools_import_no_service():
    wrong = [
        f"{role} uses {other}" for role in house.modules("Roles") if role in WITHOUT_SERVICES
        for other in sorted(uses(role)) if house.layer(other) == "Services"]

    assert not wrong


def test_every_import_is_declared_in_the_manifest():
    wrong = []
    for target in house.modules():
        declared = house.manifest()[target][1] | {target} | TOOLCHAIN
        for module in sorted(house.imports(target) - declared):
            if house.layer(module):
                wrong.append(f"{target} imports {module}")

    assert not wrong


def test_every_declared_module_is_imported():
    wrong = [
        f"{target} declares {other}" for target in house.modules()
        for other in sorted(house.manifest()[target][1] - house.imports(target))
        if house.layer(other) and house.layer(target) != "System"]

    assert not wrong


def test_no_target_names_a_dependency_twice():
    twice = {}
    for name, names in house.dependency_lists().items():
        doubled = {other for other in names if names.count(other) > 1}
        if doubled:
            twice[name] = sorted(doubled)

    assert not twice
