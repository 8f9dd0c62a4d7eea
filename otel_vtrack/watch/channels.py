"""Creates the channels that deliver events, loading only the libraries that the settings need."""

from collections.abc import Callable

from otel_vtrack.errors import SettingsError
from otel_vtrack.settings import Settings
from otel_vtrack.watch.delivery import Channel


def channels(settings: Settings) -> list[Channel]:
    """Create the channels; none if none is configured.

    Raises:
        SettingsError: The webhook's secret is missing or invalid.
    """
    made: list[Channel] = []
    if settings.watch_webhook_url is not None:
        from otel_vtrack.watch import webhook  # noqa: PLC0415

        key = _webhook_key(settings, webhook.key)
        made.append(webhook.Webhook(settings.watch_webhook_url, key))
    if settings.watch_otlp_endpoint is not None:
        from otel_vtrack.watch.otel import OtelLog  # noqa: PLC0415

        made.append(OtelLog(settings.watch_otlp_endpoint))
    return made


def _webhook_key(settings: Settings, read: Callable[[str], bytes]) -> bytes:
    file = settings.watch_webhook_secret_file
    try:
        secret = settings.watch_webhook_secret if file is None else file.read_text()
    except (OSError, UnicodeDecodeError):
        raise SettingsError(
            f"--watch-webhook-secret-file: {file} is not a readable text file"
        ) from None
    if not secret:
        raise SettingsError(
            "--watch-webhook-url needs a signing secret: set OTEL_VTRACK_WATCH_WEBHOOK_SECRET"
            " or --watch-webhook-secret-file"
        )
    try:
        return read(secret)
    except ValueError as error:
        raise SettingsError(f"the webhook secret is invalid: {error}") from None
