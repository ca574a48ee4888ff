# FIFOs, sockets and devices: names that the kernel gives a meaning.
mkfifo -m 640 fifo
mknod pipe p
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
mknod -m 666 null c 1 3
mknod block b 7 300
stat -c '%F %a %h %s %t:%T %n' fifo pipe socket null block
ls -F

# Two processes meet at a FIFO; who opens a device meets its driver.
(echo through the pipe > fifo) &
cat fifo
wait
echo nothing > pipe & cat pipe; wait

# They are renamed, linked and removed as files are.
ln fifo again
stat -c '%h %F' again
mv again moved
echo file > file
mv -f pipe file
stat -c %F file
echo new > replacement
mv -f replacement file
cat file
mkdir d
cp -a fifo socket null block d
tar cf archive.tar fifo null block
mkdir e
tar xf archive.tar -C e
stat -c '%F %a %t:%T %n' d/* e/*
find . -type p | sort
find . -type s | sort
find . -type c | sort
find . -type b | sort
chmod 4755 fifo
chown daemon fifo
stat -c '%a %U' fifo
rm -r d e archive.tar
rm fifo socket
ls -A
