"""The files for production: read by systemd, nginx and PyYAML themselves, and in step with the project."""

import configparser
import datetime as dt
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from orchestration.alerts import Routes
from tests.conftest import PROJECT_DIR
from warehouse.settings import DAGSTER_POSTGRES_URL, Settings

FOLDER = PROJECT_DIR / "deployment"
BACKUP = FOLDER / "systemd" / "next-aisle-backup.service"
UNITS = sorted(unit for unit in (FOLDER / "systemd").glob("*.service") if unit != BACKUP)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in (FOLDER / "systemd").iterdir():
        # Where the package is installed is a matter of the machine.
        text = unit.read_text().replace("/opt/next-aisle/.venv/bin/python", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    checked = subprocess.run(
        ["systemd-analyze", "verify", *sorted(map(str, tmp_path.iterdir()))], capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def read_unit(unit: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(unit)
    return parser


def test_a_backup_is_made_each_day_and_made_up_for_and_is_as_private_as_a_service() -> None:
    service, timer = read_unit(BACKUP)["Service"], read_unit(BACKUP.with_suffix(".timer"))["Timer"]
    assert service["Type"] == "oneshot" and service["ExecStart"].endswith("-m orchestration backup")
    same = ("User", "Group", "UMask", "NoNewPrivileges", "ProtectSystem", "ReadWritePaths", "WorkingDirectory")
    daemon = read_unit(FOLDER / "systemd" / "next-aisle-daemon.service")["Service"]
    assert {name: service[name] for name in same} == {name: daemon[name] for name in same}
    assert timer["Persistent"] == "true"
    assert BACKUP.with_suffix(".timer").name in (FOLDER / "systemd" / "next-aisle.target").read_text()
    if shutil.which("systemd-analyze"):
        command = ["systemd-analyze", "calendar", "--iterations=2", timer["OnCalendar"]]
        asked = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        days = [dt.date.fromisoformat(day) for day in re.findall(r"(?:Next elapse|Iter[^:]*): \w+ ([\d-]+)", asked)]
        assert days[1] - days[0] == dt.timedelta(days=1)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_service_is_restarted_private_and_listens_on_this_machine_only(unit: Path) -> None:
    service = read_unit(unit)["Service"]
    assert service["UMask"] == "0077"
    assert service["Restart"] == "always"
    assert service["User"] == "next-aisle"
    assert service["NoNewPrivileges"] == "true"
    if "webserver" in service["ExecStart"]:
        assert "-h 127.0.0.1" in service["ExecStart"]
    assert ("--read-only" in service["ExecStart"]) == (unit.stem == "next-aisle-viewers")


@pytest.mark.skipif(not Path("/usr/sbin/nginx").exists(), reason="needs nginx")
def test_nginx_accepts_its_configuration(tmp_path: Path) -> None:
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "1",
                "-subj",
                "/CN=aisle.example.org",
            ),
            *("-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    (tmp_path / "tls").mkdir()
    for name in ("key.pem", "cert.pem"):
        (tmp_path / name).rename(tmp_path / "tls" / name)
    for name in ("operators", "viewers"):
        (tmp_path / name).write_text("x:y\n")
    shutil.copy(FOLDER / "nginx" / "proxy.conf", tmp_path)
    servers = (FOLDER / "nginx" / "next-aisle.conf").read_text().replace("/etc/next-aisle", str(tmp_path))
    servers = servers.replace("listen 443", "listen 127.0.0.1:8399")
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off; {servers} }}"
    )
    checked = subprocess.run(
        ["/usr/sbin/nginx", "-t", "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr


def test_every_server_of_nginx_asks_for_a_password_or_refuses() -> None:
    servers = (FOLDER / "nginx" / "next-aisle.conf").read_text().split("\nserver {")[1:]
    assert len(servers) == 3
    assert all("auth_basic_user_file" in server or "return 444" in server for server in servers)


def test_the_containers_open_nothing_but_the_proxy_and_name_no_secret() -> None:
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    services = compose["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    assert {services[name]["network_mode"] for name in ("ui", "viewers")} == {"service:proxy"}
    assert "--read-only" in services["viewers"]["command"]
    named = {volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert {name for name in named if not name.startswith(".")} == set(compose["volumes"])
    for file in FOLDER.rglob("*"):
        if file.is_file():
            assert not re.search(r"(?i)password\s*[:=]\s*['\"]?[a-z0-9]{6,}", file.read_text()), file
    copied = re.findall(r"(?m)^COPY (\w+) \./", (FOLDER / "Containerfile").read_text())
    packages = {package.parent.name for package in PROJECT_DIR.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages <= set(copied)


def test_the_examples_name_settings_that_there_are() -> None:
    names = re.findall(r"(?m)^(?:# )?(NEXT_AISLE_\w+)=", (FOLDER / "environment.example").read_text())
    known = {f"NEXT_AISLE_{name.upper()}" for name in Settings.model_fields} | {DAGSTER_POSTGRES_URL}
    assert names and set(names) <= known
    documented = (PROJECT_DIR / ".env.example").read_text()
    assert [name for name in sorted(known) if name not in documented] == []
    Routes.model_validate(yaml.safe_load((FOLDER / "alerts.example.yml").read_text()))
