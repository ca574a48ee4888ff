truncate -s 20M s; printf x | dd of=s bs=1 seek=10000000 conv=notrunc 2>/dev/null
cp --sparse=always s t; cmp s t && echo same; stat -c %s t; fallocate -l 1000 u; stat -c %s u
fallocate -p -o 100 -l 200 u; stat -c %s u; fallocate -n -l 100000 u; stat -c %s u
tar -Scf x.tar s; rm s; tar xf x.tar; cmp s t && echo back
