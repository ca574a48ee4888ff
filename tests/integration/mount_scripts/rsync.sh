mkdir s; for n in $(seq 15); do seq $((n * 100)) > s/f$n; done; ln s/f1 s/hard; ln -s f2 s/soft
setfacl -m u:1000:rwx s/f3; setfattr -n user.x -v y s/f4
rsync -aHAX --delete s/ r/; rm s/f5; echo more >> s/f6; chmod 600 s/f7
rsync -aHAX --delete --inplace s/ r/; rsync -aHAX --delete --dry-run --itemize-changes s/ r/
diff -r s r && echo same; getfacl -n r/f3; getfattr -d r/f4; stat -c '%n %a %h' r/*
