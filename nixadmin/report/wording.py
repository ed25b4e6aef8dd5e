"""A resource in an administrator's words: what it is called, and what is worth saying when it is new."""

from nixadmin.engine.resource import Resource, shown
from nixadmin.report.paper import counted
from nixadmin.report.values import is_private
from nixadmin.resources import Block, Copy, Directory, File, Packages, Pool, Profile, Service, StorePaths
from nixadmin.resources.pool import named


def title(resource: Resource) -> str:
    """What the resource is called in a list."""
    match resource:
        case Directory():
            return f"{str(resource.path).rstrip('/')}/"
        case Block():
            return f"{resource.path} (nixadmin's block)"
        case Pool():
            return f"group {resource.group} and its build users"
        case Packages():
            return f"packages of {resource.manager}"
        case StorePaths():
            return f"Nix {resource.version} in the store"
        case Service():
            return f"service {resource.name}"
        case _:
            return resource.key if resource.key.startswith("/") else resource.id


def details(resource: Resource) -> str:
    """What there is to say of a resource that is not there yet."""
    match resource:
        case Directory():
            return _access(resource)
        case File():
            length = "private" if is_private(resource) else counted(len(resource.content.splitlines()), "line")
            return f"{_access(resource)}, {length}"
        case Block():
            return counted(len((resource.content or "").splitlines()), "line")
        case Copy():
            return f"{_access(resource)}, a copy of {resource.source}"
        case Pool():
            users = sorted(user.uid for user in resource.users)
            names = named(user.name for user in resource.users)
            return f"gid {resource.gid}, {names}, uid {users[0]}…{users[-1]}" if users else f"gid {resource.gid}"
        case Packages():
            return ", ".join(resource.installed)
        case StorePaths():
            return f"{counted(len(resource.paths), 'path')} from {resource.origin}"
        case Profile():
            return ", ".join(path.name[33:] for path in resource.packages)
        case Service():
            return f"started at boot ({resource.init})" + (" and now" if resource.running else "")
        case _:
            fields = ((name, getattr(resource, name)) for name in type(resource).model_fields if name != "kind")
            return ", ".join(f"{name.replace('_', ' ')} {shown(name, value)}" for name, value in fields if value)


def _access(resource: Directory | File | Copy) -> str:
    return f"{resource.owner}:{resource.group} {resource.mode:04o}"
