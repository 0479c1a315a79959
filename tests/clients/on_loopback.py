"""The transfer functions with a link policy that permits hosts on this machine."""

from __future__ import annotations

from functools import partial

from airflow_provider_mosaic.api.file_links import LinkPolicy
from airflow_provider_mosaic.clients import download as downloading
from airflow_provider_mosaic.clients import sources as url_sources
from airflow_provider_mosaic.clients import upload as uploading

LOOPBACK = LinkPolicy(loopback=True)

fetch = partial(downloading.fetch, policy=LOOPBACK)
read_file_info = partial(downloading.read_file_info, policy=LOOPBACK)
measure = partial(downloading.measure, policy=LOOPBACK)
send_form = partial(uploading.send_form, policy=LOOPBACK)
url_source = partial(url_sources.url_source, policy=LOOPBACK)
