mkdir s; for n in $(seq 20); do head -c $((n * 777)) /dev/zero | tr '\0' "x" > s/f$n; done
ln s/f1 s/hard; ln -s f2 s/soft; mkdir s/sub; mkfifo s/none 2>/dev/null; rm -f s/none
chmod 4711 s/f4; chown 12:34 s/f5; touch -d '2020-01-02 03:04:05.678901234' s/f[1345]
setfattr -n user.colour -v red s/f6
cp -a s c; diff -r s c && echo same; stat -c '%n %Y %a %u %g %h' c/f3 c/f4 c/f5 c/f1
getfattr -n user.colour c/f6; cp -f s/f7 c/f8; cmp s/f7 c/f8
tar --xattrs -cf - s | (mkdir t && tar --xattrs -xf - -C t); diff -r s t/s && echo same
stat -c '%n %Y %a %u %g %h' t/s/f3 t/s/f4 t/s/f5 t/s/f1
