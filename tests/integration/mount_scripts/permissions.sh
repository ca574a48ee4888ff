as() { setpriv --reuid "$1" --regid "$1" --clear-groups sh -c "$2"; }
umask 022; mkdir p q; chmod 1777 p; chmod 700 q; echo x > p/root
as 1000 'echo mine > p/mine; cat p/mine; rm -f p/root; ls q; cat q/x; chmod 777 p/root; echo y > p/root'
as 1001 'rm -f p/mine; echo y >> p/mine; mv p/mine p/yours; cat p/mine'
stat -c '%n %U %G %a' p/*; as 1000 'chmod 600 p/mine'; as 1001 'cat p/mine'; rm p/mine; ls p
mkdir g; chgrp 1002 g; chmod 2777 g; as 1000 'mkdir g/d; touch g/f'; stat -c '%n %u %g %a' g/*
