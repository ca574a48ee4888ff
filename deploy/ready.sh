#!/bin/bash
# ready.sh PORT: does what serves there say that it is ready? The health check of the containers,
# made every few seconds in each of them: Bash alone costs a tenth of what a start of Python does.
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
reply=$(timeout 5 cat <&3)
echo "${reply##*$'\n'}" # the reason, for "docker inspect"
[[ $reply == "HTTP/1."?" 200 "* ]]
