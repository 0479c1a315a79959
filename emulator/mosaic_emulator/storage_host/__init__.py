"""The storage host: upload forms and downloads by signed URL."""
