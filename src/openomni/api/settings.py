"""Django's settings. Everything that differs between machines comes from the environment; see the README.

`OPENOMNI_DATA_DIR`, `DATABASE_URL`, `OPENOMNI_BUS_URL`, `OPENOMNI_BUS_PUBLIC_URL`, `OPENOMNI_SERVER_SECRET`,
`OPENOMNI_ALLOWED_HOSTS`, `OPENOMNI_TRUSTED_PROXIES`, `OPENOMNI_HTTPS`, `OPENOMNI_LOG`.
"""

from __future__ import annotations

import os
import secrets as random
from pathlib import Path
from typing import Any

from .. import bounds, folders
from ..errors import WrongUsage
from . import secrets
from .look import admin_theme

DATA_DIR = folders.server_data()
MEDIA_ROOT = DATA_DIR / "media"
MEDIA_URL = ""  # media are served by REST, to callers of their project only

# Importing settings writes nothing: commands make the secrets. Without any, what is signed dies with the process.
_secrets = secrets.read(DATA_DIR) or secrets.Secrets(random.token_urlsafe(48), random.token_urlsafe(32))
SECRET_KEY = _secrets.django
SERVER_SECRET = os.environ.get("OPENOMNI_SERVER_SECRET") or _secrets.server
BUS_SEEDS = _secrets.bus
BUS_URL = os.environ.get("OPENOMNI_BUS_URL", "")
BUS_PUBLIC_URL = os.environ.get("OPENOMNI_BUS_PUBLIC_URL", "")  # where agents on other machines reach the bus

DEBUG = False
# The gateway stands in front and passes the Host on as it came. Names are limited where someone lists them.
ALLOWED_HOSTS = [host for host in os.environ.get("OPENOMNI_ALLOWED_HOSTS", "*").split(",") if host]
TRUSTED_PROXIES = [
    address for address in os.environ.get("OPENOMNI_TRUSTED_PROXIES", "127.0.0.1,::1").split(",") if address
]

INSTALLED_APPS = [
    "unfold",
    # Without the admin's modules, which `urls` loads: a command that makes a token needs none of them.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "ninja",  # its own copy of the page that tries the REST interface, so that it works offline
    "openomni.api.look",
    "openomni.api.start",
    "openomni.api.accounts",
    "openomni.api.places",
    "openomni.api.people",
    "openomni.api.fleet",
    "openomni.api.pipelines",
    "openomni.api.scores",
    "openomni.api.reports",
    "openomni.api.records",
    "openomni.api.queue",
    "openomni.api.datasets",
    "openomni.api.experiments",
    "openomni.api.annotation",
    "openomni.api.studio",
    "openomni.api.conversations",
    "openomni.api.media",
    "openomni.api.talk",
]
MIDDLEWARE = [
    "openomni.api.ground.policy.Policy",
    "openomni.api.ground.handshake.Handshake",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "openomni.api.ground.intake.Intake",
]
ROOT_URLCONF = "openomni.api.urls"
ASGI_APPLICATION = "openomni.api.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "openomni.api.look.project_page.context",
            ]
        },
    }
]


def _database() -> dict[str, Any]:
    if url := os.environ.get("DATABASE_URL"):
        import dj_database_url

        try:
            return dict(dj_database_url.parse(url, conn_max_age=None, conn_health_checks=True))
        except ValueError:
            scheme = url.partition("://")[0]
            raise WrongUsage(
                f"DATABASE_URL begins with {scheme!r}, which is no database; write postgres://USER:PASSWORD@HOST/NAME"
            ) from None
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "openomni.sqlite3",
        "CONN_MAX_AGE": None,  # of threads that stay: `handler.Handler`, the recorder's, …
        "OPTIONS": {
            "timeout": 20,
            # A transaction that writes takes the lock at its start, and waits its turn instead of failing half-way.
            "transaction_mode": "IMMEDIATE",
            # NORMAL loses no committed row when the process dies, and at worst the last ones when the power does;
            # records stay on the bus, which fsyncs each, until they are written here, and come again.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY;"
            "PRAGMA cache_size=-16000; PRAGMA mmap_size=134217728; PRAGMA wal_autocheckpoint=1000;",
        },
    }


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "/"

SESSION_COOKIE_NAME = "openomni_session"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = "openomni_csrf"
CSRF_COOKIE_SAMESITE = "Lax"
# Set by `openomni up --tls` and deployments behind HTTPS; a cookie marked so is never sent over plain HTTP.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = os.environ.get("OPENOMNI_HTTPS") == "1"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = bounds.MAX_PART
FILE_UPLOAD_MAX_MEMORY_SIZE = bounds.MAX_PART  # `bodies` lets none in that is larger, so none goes to a temporary file

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = "openomni.api.look.formats"
STATIC_URL = "/static/"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "openomni": {"handlers": ["console"], "level": os.environ.get("OPENOMNI_LOG", "INFO").upper()},
        "django.request": {"handlers": ["console"], "level": "ERROR", "propagate": False},
    },
}

UNFOLD = admin_theme.SETTINGS
