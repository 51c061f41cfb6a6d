"""Fills the files of cluster/templates. `$name` is replaced; a name that is missing is an error."""
import string

from .layout import TEMPLATES


def render(name, **values):
    return string.Template((TEMPLATES / name).read_text()).substitute(values)


def write_if_changed(file, text, mode=0o600):
    """True if the file was not there or had another content."""
    if file.exists() and file.read_text() == text:
        return False
    new = file.with_name(file.name + ".new")
    new.write_text(text)
    new.chmod(mode)
    new.replace(file)
    return True
