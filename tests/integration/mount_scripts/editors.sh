printf 'one\ntwo\n' > f; printf '2s/two/three/\nw\nq\n' | ed -s f 2>/dev/null || sed -i s/two/three/ f
cat f; sed -i.bak s/one/ONE/ f; ls; cat f f.bak; cp f f~; printf x > .f.swp; rm .f.swp f~
(set -C; echo no > f) 2>/dev/null || echo kept
