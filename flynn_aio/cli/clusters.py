"""The clusters a person knows: `flynn cluster`, and `flynn git-credentials`, which git calls.

Source: `cli.md` §3 and §5.1; Flynn `cli/cluster.go`, `cli/git.go`.
"""

import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from . import git, rc
from .failure import Failure
from .rc import Cluster
from .render import quoted, table
from .session import Session
from .similar import did_you_mean
from .talk import show_json, show_raw, tell
from .usage import Args


def cluster(args: Args, session: Session) -> None:
    """usage: flynn cluster [--json]
           flynn cluster add [-f] [-d] [--git-url <giturl>] [--no-git] [--image-url <url>]
               [--docker-push-url <url>] [--docker] [-p <tlspin>] <cluster-name> <domain> <key>
           flynn cluster remove <cluster-name>
           flynn cluster default [<cluster-name>]
           flynn cluster migrate-domain <domain>
           flynn cluster backup [--file <file>]
           flynn cluster log-sink [--json]
           flynn cluster log-sink add syslog [--use-ids] [--insecure] [--format <format>] <url> [<prefix>]
           flynn cluster log-sink remove <id>

    Manage the clusters in ~/.flynnrc. Without arguments, lists them.

    Commands:
        add                  adds a cluster, and tells git its CA and how to get the password
        remove               removes a cluster
        default              shows or sets the default cluster
        migrate-domain       moves the cluster to another domain; the old one keeps answering
        backup               writes the cluster's state to a tar; its manifest.json tells what is in it, and what is
                             not: the data of databases and volumes, for now
        log-sink             lists the log servers that are sent the lines of all apps
        log-sink add syslog  adds one: syslog://HOST:PORT, or syslog+tls://HOST:PORT; it is sent what is kept of the
                             logs, and then every new line
        log-sink remove      removes one

    <prefix> is put before each message to a log server, and may name what is known of its job: {{.ID}},
    {{index .Metadata "KEY"}} (the app's, or flynn-controller.app_name, .app, .release, .type), {{.Config.Env.NAME}}.

    Options:
        --json                   as JSON: the controller's own objects; clusters as ~/.flynnrc has them, without keys
        -f, --force              replace an entry that has the same name or URL
        -d, --default            make it the default cluster
        --git-url=<giturl>       git URL (default: https://git.<domain>)
        --no-git                 leave git alone
        --image-url=<url>        image URL (default: https://images.<domain>)
        --docker-push-url=<url>  [DEPRECATED] Docker push URL
        --docker                 [DEPRECATED] the Docker push URL is https://docker.<domain>
        -p, --tls-pin=<tlspin>   SHA256 of the cluster's TLS certificate
        --file=<file>            file to write the backup to (default: standard output)
        --use-ids                use app ids, not names, as syslog's APP-NAME
        --insecure               do not verify the server's certificate
        --format=<format>        rfc6587 counts octets; newline ends messages with one; prefixed_newline also puts the
                                 prefix before the whole message, not before its text (default: rfc6587)

    Examples:

        $ flynn cluster add -p KGCENkp53YF5OvOKkZIry71+czFRkSw2ZdMszZ/0ljs= default example.com e09dc5301d72be75
        Cluster "default" added and set as default.

        $ flynn cluster log-sink add syslog syslog+tls://logs.example.com:6514
        Created sink 3f0c2d0e-5f0b-4a55-9a86-1f6c2d6f5f0e.
    """
    match args.words:
        case ():
            _list(session, as_json=args.flag("--json"))
        case ("add",):
            _add(args, session)
        case ("remove",):
            _remove(args.text("<cluster-name>"), session)
        case ("default",) if args.text("<cluster-name>"):
            _set_default(args.text("<cluster-name>"), session)
        case ("default",):
            _show_default(session)
        case ("log-sink", *_):
            from .log_sink import log_sink

            log_sink(args, session)
        case ("migrate-domain",):
            from .migrate import migrate_domain

            migrate_domain(args, session, flynn=_executable())
        case ("backup",):
            from .backup import backup

            backup(args, session)


def _list(session: Session, *, as_json: bool) -> None:
    if as_json:
        shown = ("name", "controller_url", "git_url", "image_url", "tls_pin")
        show_json(
            [
                {**{key: getattr(each, key) for key in shown}, "default": each.name == session.config.default}
                for each in session.config.clusters
            ]
        )
        return
    rows: list[tuple[str, ...]] = [("NAME", "CONTROLLER URL", "GIT URL", "IMAGE URL")]
    for each in session.config.clusters:
        row = (each.name, each.controller_url, each.git_url or "(none)", each.image_url or "(none)")
        rows.append((*row, "(default)") if each.name == session.config.default else row)
    show_raw(table(rows))


def _add(args: Args, session: Session) -> None:
    """Check, fetch the CA, tell git, and save last: a cluster that is listed works."""
    new = _described(args)
    force, wants_default = args.flag("--force"), args.flag("--default")
    config = rc.added(session.config, new, default=wants_default, force=force)
    if new.git_url or new.docker_push_url:
        ca_path = rc.ca_path(session.environ, new.name)
        try:
            _fetch_ca(new, ca_path)
        except (Failure, OSError) as exc:
            raise Failure(f"Error writing CA certificate: {exc}") from exc
        if new.git_url:
            git.configure(new.git_url, ca_path, _executable())
    if new.docker_push_url:
        tell(
            "DEPRECATED: Pushing via a Docker registry has been deprecated in favour of pushing via the Flynn image "
            "service, set --image-url instead"
        )
    rc.write(session.rc_path, config)
    became_default = config.default == new.name != session.config.default
    if wants_default or became_default or len(config.clusters) == 1:
        tell(f"Cluster {quoted(new.name)} added and set as default.")
    else:
        tell(f"Cluster {quoted(new.name)} added.")


def _described(args: Args) -> Cluster:
    """Return the cluster the arguments describe."""
    domain = args.text("<domain>").removeprefix("https://controller.")
    found = rc.cluster_at(domain, args.text("<cluster-name>"), args.text("<key>"), tls_pin=args.value("--tls-pin"))
    return found._replace(
        git_url=args.value("--git-url") or ("" if args.flag("--no-git") else found.git_url),
        image_url=args.value("--image-url") or found.image_url,
        docker_push_url=args.value("--docker-push-url")
        or (f"https://docker.{domain}" if args.flag("--docker") else ""),
    )


def _fetch_ca(cluster: Cluster, ca_path: Path) -> None:
    from .client import Client

    with closing(Client(cluster)) as client:
        pem = client.text("/ca-cert")
    ca_path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    ca_path.write_bytes(pem)


def _executable() -> str:
    """Return a command for git that runs this program, wherever git is called from."""
    from shutil import which

    started_as = Path(sys.argv[0])
    if started_as.name == "flynn" and (found := which(str(started_as))):
        return str(Path(found).absolute())
    beside_python = Path(sys.executable).with_name("flynn")
    return str(beside_python) if beside_python.exists() else which("flynn") or "flynn"


def _remove(name: str, session: Session) -> None:
    gone = session.config.named(name)
    if gone is None:
        return
    config = rc.removed(session.config, name)
    rc.write(session.rc_path, config)
    if gone.git_url:
        git.forget(gone.git_url)
    if config.default != session.config.default:
        tell(f"Cluster {quoted(name)} removed and {quoted(config.default)} is now the default cluster.")
    else:
        tell(f"Cluster {quoted(name)} removed.")


def _show_default(session: Session) -> None:
    default = session.config.named(session.config.default)
    rows: list[tuple[str, ...]] = [("NAME", "URL")]
    if default:
        rows.append((default.name, default.controller_url, "(default)"))
    show_raw(table(rows))


def _set_default(name: str, session: Session) -> None:
    if session.config.named(name) is None:
        guess = did_you_mean(name, (each.name for each in session.config.clusters))
        raise Failure(
            f"Cluster {quoted(name)} does not exist and cannot be set as default.",
            hint=guess or "'flynn cluster' lists the known ones",
        )
    rc.write(session.rc_path, session.config._replace(default=name))
    tell(f"{quoted(name)} is now the default cluster.")


def git_credentials(args: Args, session: Session) -> None:
    """usage: flynn git-credentials <operation>

    Tell git the password for a cluster's git URL. Git calls this by itself; see git-credential(1).
    """
    if args.text("<operation>") != "get":
        return
    asked = _asked(sys.stdin or ())
    host = asked.get("host", "")
    try:
        known = next((each for each in session.config.clusters if each.git_url == f"https://{host}"), None)
    except Failure:
        return  # git asks its next helper, or the person
    if asked.get("protocol") == "https" and known and not known.oauth_url:
        show_raw(f"protocol=https\nusername=user\nhost={host}\npassword={known.key}\n")


def _asked(lines: Iterable[str]) -> Mapping[str, str]:
    """Return what git wants a password for: ``key=value`` lines up to an empty one."""
    asked = {}
    for line in lines:
        key, _, value = line.rstrip("\r\n").partition("=")
        if not key:
            break
        asked[key] = value
    return asked
