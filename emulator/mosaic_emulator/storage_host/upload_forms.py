"""Upload forms: validates the fields and streams the file to disk."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from mosaic_emulator.assets.uploads import SUFFIXES, Upload
from mosaic_emulator.state import State
from mosaic_emulator.storage_host.multipart import FormError, FormReader, Part, boundary_of
from mosaic_emulator.storage_host.request_bodies import Body


class StorageError(Exception):
    """An error response of the storage host."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class UploadFormHandler:
    """Handles one upload form."""

    def __init__(self, *, state: State, field_names: list[str]) -> None:
        self._state = state
        #: Receives the names of the fields, in order.
        self._names = field_names

    def receive(self, body: Body, content_type: str, *, expired: bool = False) -> Upload:
        """
        Read a form to its end and store its file.

        :raises StorageError: If the form is not the one that the API created.
        """
        try:
            form = FormReader(source=body, boundary=boundary_of(content_type))
            fields, part = self._fields(form)
            upload = self._check(fields)
            if expired or upload.expired:
                raise StorageError(403, "AccessDenied", "Invalid argument. Policy expired.")
            return self._store(form, part, upload)
        except FormError as error:
            raise StorageError(400, "MalformedPOSTRequest", f"The body is not a valid form: {error}") from error

    def _fields(self, form: FormReader) -> tuple[dict[str, str], Part]:
        fields: dict[str, str] = {}
        while (part := form.next_part()) is not None:
            self._names.append(part.name)
            if part.name == "file":
                return fields, part
            if part.name in fields:
                raise StorageError(400, "InvalidArgument", f"The field {part.name} is repeated")
            fields[part.name] = form.read_field().decode("utf-8", "replace")
        raise StorageError(400, "InvalidArgument", "POST requires exactly one file upload per request.")

    def _check(self, fields: dict[str, str]) -> Upload:
        upload = self._state.uploads.by_key(fields.get("key", ""))
        if upload is None:
            raise StorageError(403, "AccessDenied", "The key is unknown")
        for name in fields:
            if name not in upload.fields:
                raise StorageError(403, "AccessDenied", f"Policy did not reference the field {name}")
        for name, value in upload.fields.items():
            if fields.get(name) != value:
                code = "SignatureDoesNotMatch" if name == "x-goog-signature" else "AccessDenied"
                raise StorageError(403, code, f"The field {name} is missing or was changed")
        if self._state.settings.upload_field_order and list(fields) != list(upload.fields):
            raise StorageError(403, "AccessDenied", "The fields are not in the order of upload_fields")
        return upload

    def _store(self, form: FormReader, part: Part, upload: Upload) -> Upload:
        size, limit = 0, upload.max_file_size
        path: Path | None = None
        if self._state.settings.discard_uploads:

            def count(chunk: memoryview) -> None:
                nonlocal size
                size += len(chunk)

            form.stream(count)
        else:
            path = self._state.media.new_path(Path(part.file_name or "").suffix or SUFFIXES[upload.type])
            with path.open("wb", buffering=0) as file:

                def write(chunk: memoryview) -> None:
                    nonlocal size
                    size += len(chunk)
                    while size <= limit and chunk:
                        chunk = chunk[file.write(chunk) :]

                form.stream(write)
        try:
            if size > limit:
                raise StorageError(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.")
            following = form.next_part()
            if following is not None:
                self._names.append(following.name)
                raise StorageError(400, "InvalidArgument", "The file must be the last field of the form")
        except BaseException:
            if path is not None:
                path.unlink(missing_ok=True)
            raise
        if path is not None:
            kind = part.content_type or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            upload.media = self._state.media.put(f"assets/{upload.id}{path.suffix}", path, kind)
        upload.size = size
        upload.file_name = part.file_name
        self._state.counters.add("uploads_stored")
        self._state.counters.add("bytes_stored", size)
        return upload
