"""Every setting of Frontdesk, read from the environment (and from `.env` beside manage.py).

Nothing has to be set: without DATABASE_URL and REDIS_URL the embedded servers run in `.data/`, without provider keys the
simulated carrier and the rules answer. A secret NAME may also come from a file named by NAME_FILE.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from urllib.parse import urlsplit

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from config import embedded
from marketplace.classification import GOLD_COLUMNS as GOLD_BY_DEFAULT

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.FileAwareEnv()
environ.Env.read_env(BASE_DIR / ".env")

DATA_DIR = Path(env.str("FRONTDESK_DATA", default=str(BASE_DIR / ".data"))).expanduser().resolve()
TESTING = "pytest" in sys.modules
if TESTING:
    DATA_DIR /= "test"  # servers of their own: a test may flush Redis, the demo keeps running
DATA_DIR.mkdir(parents=True, exist_ok=True)
DEBUG = env.bool("DEBUG", default=False)
# "web" | "worker" | "beat" | "" (a management command): set by the process that starts, see Procfile and wsgi.py.
PROCESS = os.environ.get("FRONTDESK_PROCESS", "")


def local_secret(name: str) -> str:
    """A random secret for this data folder, made once and kept with 0600: a laptop needs no .env."""
    path = DATA_DIR / name
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        value = secrets.token_urlsafe(48)
        file.write(value)
    return value


# --- Where it runs -------------------------------------------------------------------------------------------------

SECRET_KEY = env.str("SECRET_KEY", default="") or local_secret("secret_key")
# The address the outside world (Twilio above all) calls, without a trailing slash. Empty: take it from the request.
PUBLIC_URL = env.str("PUBLIC_URL", default="").rstrip("/")
_our_host = [urlsplit(PUBLIC_URL).hostname] if PUBLIC_URL else []
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]", *_our_host])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[PUBLIC_URL] if PUBLIC_URL else [])
# Say True only behind a proxy that overwrites X-Forwarded-Proto and X-Forwarded-Host itself.
BEHIND_TLS_PROXY = env.bool("BEHIND_TLS_PROXY", default=False)
if BEHIND_TLS_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    USE_X_FORWARDED_HOST = True
HTTPS_ONLY = env.bool("HTTPS_ONLY", default=PUBLIC_URL.startswith("https://"))
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS_ONLY
# Only a proxy that tells us the scheme lets us see who came without TLS; without one a redirect would go in circles.
SECURE_SSL_REDIRECT = HTTPS_ONLY and BEHIND_TLS_PROXY
# Load balancers knock on plain http, and a letter that lost its body to a redirect is a lost letter (it is signed anyway).
SECURE_REDIRECT_EXEMPT = [r"^healthz/?$", r"^readyz/?$", r"^(v1/)?twilio/"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS_ONLY
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000  # bytes; nothing a phone or a form sends comes near
APPEND_SLASH = False  # both forms are routed, so a POST never loses its body to a redirect

# --- Apps ----------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "crm",  # before contrib.auth: brings the User
    "booking",
    "leads",
    "marketplace",
    "outreach",
    "telephony",
    "config.apps.StaffAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "import_export",
    "axes",
    "django_structlog",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "crm.middleware.plain_text_only",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "crm.middleware.staff_see_every_business",
    "axes.middleware.AxesMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "crm.context.shell",
            ],
        },
    }
]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    },
}

# --- Data ----------------------------------------------------------------------------------------------------------

_servers = embedded.ensure(DATA_DIR, postgres="DATABASE_URL" not in os.environ, redis="REDIS_URL" not in os.environ)
DATABASES = {"default": env.db_url_config(_servers.database_url or env.str("DATABASE_URL"))}
if DATABASES["default"]["ENGINE"] != "django.db.backends.postgresql":
    raise ImproperlyConfigured("DATABASE_URL must name a PostgreSQL database: postgres://user:password@host:5432/name")
if PROCESS == "web":
    # Threads of one web process share a pool; a pool and persistent connections exclude each other.
    DATABASES["default"].setdefault("OPTIONS", {})["pool"] = {
        "min_size": 2,
        "max_size": env.int("DB_POOL_SIZE", default=16),
        "timeout": 10,
    }
    DATABASES["default"]["CONN_MAX_AGE"] = 0
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 60
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"]["ATOMIC_REQUESTS"] = False
# Statements are prepared by the server once they have come a few times: half of Postgres's work on a text was planning the
# same twenty statements again. Behind PgBouncer in transaction mode set DB_PREPARE=off.
if env.bool("DB_PREPARE", default=True):
    DATABASES["default"].setdefault("OPTIONS", {}).update(server_side_binding=True, prepare_threshold=5)
if TESTING:  # a test's data need not survive a power cut, so nobody waits for the disk
    DATABASES["default"].setdefault("OPTIONS", {})["options"] = "-c synchronous_commit=off"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = _servers.redis_url or env.str("REDIS_URL")
if TESTING:  # test processes side by side: each in a database of its own
    REDIS_URL = REDIS_URL.rpartition("/")[0] + "/" + str(1 + int(env.str("PYTEST_XDIST_WORKER", default="gw0")[2:]))
CACHES = {
    "default": {
        "BACKEND": "crm.cache.ForgivingRedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "frontdesk",
        "OPTIONS": {"socket_timeout": 0.5, "socket_connect_timeout": 0.5},  # seconds; away is away
    }
}

# --- People --------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "crm.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
if TESTING:  # the real hashers are slow on purpose, and the cast signs in a thousand times
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "crm:home"
LOGOUT_REDIRECT_URL = "login"
SESSION_COOKIE_AGE = 60 * 60 * 24 * 30
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_USERNAME_FORM_FIELD = "username"
AXES_USERNAME_CALLABLE = "crm.security.login_name"
AXES_HTTP_RESPONSE_CODE = 429
AXES_LOCKOUT_TEMPLATE = "429.html"
AXES_VERBOSE = False

EMAIL_BACKEND = env.str("EMAIL_BACKEND", default="django.core.mail.backends.console.EmailBackend")
EMAIL_HOST = env.str("EMAIL_HOST", default="localhost")
EMAIL_PORT = env.int("EMAIL_PORT", default=25)
EMAIL_HOST_USER = env.str("EMAIL_HOST_USER", default="")
EMAIL_HOST_PASSWORD = env.str("EMAIL_HOST_PASSWORD", default="")
EMAIL_USE_TLS = env.bool("EMAIL_USE_TLS", default=False)
EMAIL_TIMEOUT = 10  # seconds; a mail server that hangs must not hold a worker
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Frontdesk <frontdesk@localhost>")

# --- Words and static files ----------------------------------------------------------------------------------------

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"  # the server's; people see their business's zone
USE_TZ = True
USE_I18N = True
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
STATICFILES_DIRS = [BASE_DIR / "static"]
# A collected static folder is served hashed and compressed; without one (a laptop, the tests) straight from the source.
_collected = (STATIC_ROOT / "staticfiles.json").exists() or "collectstatic" in sys.argv
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if _collected and not TESTING
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = not _collected or TESTING
MEDIA_ROOT = DATA_DIR / "media"
FILE_UPLOAD_TEMP_DIR = MEDIA_ROOT / "incoming"  # on the same disk, so keeping a large upload is a rename
FILE_UPLOAD_TEMP_DIR.mkdir(parents=True, exist_ok=True)
FILE_UPLOAD_PERMISSIONS = 0o600  # lead files and buyers' exports are nobody else's

# --- Background work -----------------------------------------------------------------------------------------------
# Read by config/celery.py with the CELERY_ prefix; the schedule stands there.

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_DEFAULT_QUEUE = "inbound"
CELERY_TASK_SOFT_TIME_LIMIT = 120  # seconds; far below the visibility timeout, so no task is ever delivered twice alive
CELERY_TASK_TIME_LIMIT = 150
# Whoever sends a wake-up while Redis is away gives up at once (kombu would go on trying for seconds, in the customer's
# request); a worker has the time to wait for it.
_patience = 5 if PROCESS == "worker" else 0.5  # seconds
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 900,
    "socket_timeout": _patience,
    "socket_connect_timeout": _patience,
    "max_retries": 0,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_PUBLISH_RETRY = (
    False  # a lost wake-up costs seconds (the sweep finds the row); a waiting customer costs more
)

# --- Providers: each switches on when its key is set -----------------------------------------------------------------

TWILIO_ACCOUNT_SID = env.str("TWILIO_ACCOUNT_SID", default="")
TWILIO_AUTH_TOKEN = env.str("TWILIO_AUTH_TOKEN", default="")
TWILIO_API_URL = env.str("TWILIO_API_URL", default="https://api.twilio.com").rstrip("/")
if bool(TWILIO_ACCOUNT_SID) != bool(TWILIO_AUTH_TOKEN):
    raise ImproperlyConfigured(
        "Set both TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN, or neither for the simulated carrier."
    )
# "twilio" or "simulated"; the simulated carrier signs its webhooks with this installation's own secret.
CARRIER = env.str("CARRIER", default="twilio" if TWILIO_ACCOUNT_SID else "simulated")
if CARRIER not in ("twilio", "simulated") or (CARRIER == "twilio" and not TWILIO_ACCOUNT_SID):
    raise ImproperlyConfigured("CARRIER is twilio (with TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN) or simulated.")
# After how many seconds a text that was handed to a worker and never heard of again is asked about. Far above the carrier's
# time limits (10 to connect, 10 to answer), so that nobody is still sending it.
OUTBOX_PATIENCE_SECONDS = env.int("OUTBOX_PATIENCE_SECONDS", default=60)
SMS_PRICE_MICROS = env.int("SMS_PRICE_MICROS", default=8_300)  # USD millionths per segment, for the spend cap
OPENAI_API_KEY = env.str("OPENAI_API_KEY", default="")
OPENAI_BASE_URL = env.str("OPENAI_BASE_URL", default="https://api.openai.com/v1")
OPENAI_MODEL = env.str("OPENAI_MODEL", default="gpt-4o-mini")

# --- Marketplace -------------------------------------------------------------------------------------------------------

# The key under which people are recognised without their numbers (erased ones, buyers' lists). With another key none of
# them is recognised any more, so it stays when SECRET_KEY is changed.
PERSON_MARK_KEY = env.str("PERSON_MARK_KEY", default="") or SECRET_KEY
# The columns a lead needs to be Gold. Only leads that come in later are judged by a change.
GOLD_COLUMNS = env.list("GOLD_COLUMNS", default=list(GOLD_BY_DEFAULT))
# Who sells: on every invoice, with the lines below the name (separated by |).
SELLER_NAME = env.str("SELLER_NAME", default="Frontdesk")
SELLER_LINES = tuple(filter(None, env.str("SELLER_LINES", default="").split("|")))
INGEST_MAX_BYTES = env.int("INGEST_MAX_BYTES", default=2_000_000_000)

# --- Public API ------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["crm.api_auth.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["crm.api_auth.HasApiKey"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "crm.api_schema.ApiSchema",
    "DEFAULT_THROTTLE_CLASSES": ["crm.api_auth.PerKeyThrottle"],
    "DEFAULT_THROTTLE_RATES": {
        "key": env.str("API_RATE", default="6000/min"),
        "anonymous": env.str("OPEN_RATE", default="120/min"),
    },
    "EXCEPTION_HANDLER": "crm.api_errors.problem",
    "UNAUTHENTICATED_USER": None,
    "NUM_PROXIES": 1 if BEHIND_TLS_PROXY else 0,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Frontdesk API",
    "VERSION": "1",
    "DESCRIPTION": "Leads in, slots offered, jobs booked exactly once; leads scored, moved and handed to sales; aged leads "
    "quoted, bought whole or not at all, taken away and given back. Errors are problem+json (RFC 9457). Every POST takes an "
    "Idempotency-Key header; a repeat gets the stored answer, and a refusal leaves the key free.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "SCHEMA_PATH_PREFIX_TRIM": False,
    "COMPONENT_SPLIT_PATCH": False,  # what a PATCH needs is said by its own serializer
    "PREPROCESSING_HOOKS": ["config.api.only_canonical_paths"],
    "POSTPROCESSING_HOOKS": [],  # each answer lists its own statuses, instead of sharing enums with made-up names
}
IMPORT_EXPORT_USE_TRANSACTIONS = True
IMPORT_EXPORT_SKIP_ADMIN_LOG = True  # AuditEvent tells it, with the file's name
IMPORT_EXPORT_ESCAPE_FORMULAE_ON_EXPORT = True

# --- Logs: one JSON object per line ------------------------------------------------------------------------------------

DJANGO_STRUCTLOG_CELERY_ENABLED = True
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False
LOGGING_CONFIG = "config.logs.configure"
LOGGING = {"level": env.str("LOG_LEVEL", default="INFO" if PROCESS else "WARNING")}  # commands print their answer only
