"""Whatever breaks, plan names it, provision mends it, and uninstall still gives the host back as it was."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from nixadmin.config import Config
from nixadmin.engine.receipt import Receipt
from nixadmin.engine.resource import Resource
from nixadmin.errors import NixadminError
from nixadmin.host import Host
from nixadmin.provision import survey
from nixadmin.provision.multi_user import installation
from tests.cure import acts, standing
from tests.cure.damages import Damage, damages
from tests.cure.journeys import Atlas
from tests.standin import needs_root

pytestmark = [needs_root, pytest.mark.ring(3)]
