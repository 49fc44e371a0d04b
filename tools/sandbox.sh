#!/usr/bin/env bash
# Run a script as if on a machine of its own: tools/sandbox.sh SHARED SCRIPT
#
# What it writes goes into memory and away at the end, but for the folder
# SHARED; what it starts ends with it. It needs root and Linux's overlayfs.
# systemctl is played by a few lines that do what the units say, for there is
# no systemd in there.
set -euo pipefail

if [ $# = 2 ]; then
    root=$(mktemp -d)
    trap 'rmdir "$root"' EXIT
    unshare --mount --pid --fork --kill-child "$0" "$1" "$2" "$root"
    exit
fi

shared=$1 script=$2 root=$3
mount --make-rprivate /
mount -t tmpfs tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/root"
mount -t overlay overlay "$root/root" \
    -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work"
root=$root/root
mount -t proc proc "$root/proc"
for path in /dev /sys /run "$shared"; do
    mkdir -p "$root$path"
    mount --rbind "$path" "$root$path"
done

cat >"$root/usr/local/bin/systemctl" <<'EOF'
#!/usr/bin/env bash
set -euo pipefail

unit() {  # NAME: print the unit's file, of NAME or of its template
    local found
    for found in {/etc,/lib}/systemd/system/{"$1","${1%%@*}@"}.service; do
        if [ -e "$found" ]; then
            echo "$found"
            return
        fi
    done
    echo "Unit $1.service not found." >&2
    exit 5
}

value() {  # FILE KEY INSTANCE
    sed -n "s/^$2=//p" "$1" | sed "s/%i/$3/g"
}

case $1 in
daemon-reload) ;;
restart)
    nginx -s quit 2>/dev/null || true
    "$2"
    ;;
enable)
    cd /
    for name in "${@:3}"; do
        file=$(unit "$name")
        user=$(value "$file" User "")
        read -ra command <<<"$(value "$file" ExecStart "${name#*@}")"
        setsid setpriv --reuid "${user:-root}" --regid "${user:-root}" \
            --init-groups -- "${command[@]}" >>"/tmp/$name.log" 2>&1 &
    done
    # "Type=exec" says only that it has begun; give it the time to.
    sleep 5
    ;;
*)
    echo "systemctl $* is not played here" >&2
    exit 1
    ;;
esac
EOF
chmod +x "$root/usr/local/bin/systemctl"
exec chroot "$root" /bin/bash "$script"
