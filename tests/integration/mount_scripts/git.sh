git init -q -b main r; cd r; git config user.name a; git config user.email a@b; git config gc.auto 0
for n in $(seq 12); do seq $n 100 > f$n; done; mkdir d; echo deep > d/e
git add .; git commit -qm one; git status --short
echo more >> f1; git mv f2 d/f2; git rm -q f3; git commit -qam two; git log --format=%s
git checkout -q -b side HEAD~; echo side > s; git add s; git commit -qm side
git checkout -q main; git merge -q -m merged side; git status --short; git fsck; git gc -q
cd ..; git clone -q r c; cd c; git log --format=%s | sort; git status --short; ls
git stash list; git diff HEAD~ --stat | tail -1
