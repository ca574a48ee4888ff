dd if=/dev/zero of=a bs=1M count=9 2>/dev/null; seq 400000 | head -c 2621440 > r
for flags in sync dsync direct nonblock append; do
    dd if=r of=b.$flags bs=64K oflag=$flags 2>/dev/null; cmp r b.$flags && echo $flags
done
dd if=r of=c bs=4K seek=100 conv=notrunc 2>/dev/null; stat -c %s c
dd if=r of=c bs=1 count=3 seek=5 conv=notrunc,fsync 2>/dev/null; cmp -n 3 r <(tail -c +6 c) && echo in
dd if=c of=d bs=64K conv=sparse 2>/dev/null; cmp c d && echo sparse
dd if=r iflag=direct bs=64K 2>/dev/null | cmp - r && echo direct
head -c 5000000 a | tail -c 10 | od -c | head -1
