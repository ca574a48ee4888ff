echo a > a; echo b >> a; cat a; cp a b; mv b c; ln a d; ln -s a e; mkdir -p x/y/z
touch x/y/z/f; chmod 640 a; chmod 1777 x; stat -c '%n %a %h %F' *
rmdir x || true; rm a; ls; cat d; cat e || true
truncate -s 100 d; od -c d | tail -2; truncate -s 1 d; cat d
install -D -m 750 c deep/er/c; stat -c %a deep/er/c; mv deep er; find . | sort; rm -r er
