#!/bin/sh
# Says which LLVM (19 to 22, one that is pointed at first, else the newest) is installed with its development files: prints its major version, or with
# --prefix the folder that it lies in. Exit status 1 and no output when there is none.
# Looked at: LLVM_SYS_<version>1_PREFIX, the usual folders of Debian, Fedora and Homebrew, and llvm-config in the PATH.

candidates() { # the llvm-config programs that may be of this version
    eval "pointed=\${LLVM_SYS_${1}1_PREFIX:-}"
    [ -z "$pointed" ] || echo "$pointed/bin/llvm-config"
    for prefix in "/usr/lib/llvm-$1" "/usr/lib64/llvm$1" "/usr/lib/llvm$1" "/usr/local/llvm-$1" "/opt/llvm-$1" \
        "/opt/homebrew/opt/llvm@$1" "/usr/local/opt/llvm@$1" /opt/homebrew/opt/llvm /usr/local/opt/llvm; do
        echo "$prefix/bin/llvm-config"
    done
    for name in "llvm-config-$1" "llvm-config$1" "llvm-config-$1-64" llvm-config-64 llvm-config; do
        command -v "$name" 2>/dev/null
    done
}

complete() { # is this the llvm-config of version $2, with headers and the shared library?
    [ -x "$1" ] || return 1
    case $("$1" --version 2>/dev/null) in "$2".*) ;; *) return 1 ;; esac
    [ -e "$("$1" --includedir)/llvm-c/Core.h" ] || return 1
    libraries=$("$1" --libdir)
    ls "$libraries"/libLLVM*.so* "$libraries"/libLLVM*.dylib 2>/dev/null | grep -q .
}

chosen=""
for version in 22 21 20 19; do
    eval "[ -z \"\${LLVM_SYS_${version}1_PREFIX:-}\" ] || chosen=\"\$chosen $version\""
done

for version in $chosen 22 21 20 19; do
    for config in $(candidates "$version"); do
        complete "$config" "$version" || continue
        if [ "${1:-}" = --prefix ]; then "$config" --prefix; else echo "$version"; fi
        exit 0
    done
done
exit 1
