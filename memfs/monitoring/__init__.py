"""What a process counts (``metrics``) and shows to machines that watch it (``http_server``)."""
