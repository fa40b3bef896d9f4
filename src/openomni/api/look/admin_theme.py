"""Django-unfold's settings, which make the admin look like the rest of the house. Imports nothing of Django's, for the
settings do."""

from __future__ import annotations

from typing import Any

SETTINGS: dict[str, Any] = {
    "SITE_TITLE": "OpenOmni",
    "SITE_HEADER": "OpenOmni",
    "SITE_ICON": "/static/openomni/icon.svg",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "/static/openomni/icon.svg"}],
    "SITE_URL": "/",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "LOGIN": {"form": "openomni.api.accounts.login.LoginForm"},
    "STYLES": ["/static/openomni/data.css", "/static/openomni/admin.css"],
    "SIDEBAR": {"navigation": "openomni.api.look.sidebar.sidebar"},
    "BORDER_RADIUS": "8px",
    # The steps of look.css: 500 is the accent on dark, 600 on light.
    "COLORS": {
        "base": {
            "50": "#f7f7fa", "100": "#eeeef4", "200": "#d9d9e3", "300": "#c4c4d1", "400": "#a3a3b5", "500": "#62627a",
            "600": "#55556a", "700": "#3d3d4b", "800": "#2b2b36", "900": "#1b1b24", "950": "#121218",
        },
        "primary": {
            "50": "#f6f4fe", "100": "#ece8fd", "200": "#dad3fb", "300": "#c3b8fb", "400": "#b9acff", "500": "#a796ff",
            "600": "#5b3fd6", "700": "#4b31c0", "800": "#3d2899", "900": "#2d2650", "950": "#1d1738",
        },
        "font": {
            "subtle-light": "var(--color-base-500)", "subtle-dark": "var(--color-base-400)",
            "default-light": "var(--color-base-600)", "default-dark": "var(--color-base-300)",
            "important-light": "#1a1a24", "important-dark": "#ececf2",
        },
    },
}  # fmt: skip
