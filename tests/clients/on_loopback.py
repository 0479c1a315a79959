"""The transfer functions with a link policy that permits hosts on this machine."""

from __future__ import annotations

from functools import partial

from airflow_provider_mosaic.api.link_policy import LinkPolicy
from airflow_provider_mosaic.clients import download as downloading
from airflow_provider_mosaic.clients import upload as uploading
from airflow_provider_mosaic.clients import url_source as url_sources

LOOPBACK = LinkPolicy(loopback=True)

fetch = partial(downloading.fetch, policy=LOOPBACK)
read_file_info = partial(downloading.read_file_info, policy=LOOPBACK)
measure = partial(downloading.measure, policy=LOOPBACK)
send_form = partial(uploading.send_form, policy=LOOPBACK)
url_source = partial(url_sources.url_source, policy=LOOPBACK)
