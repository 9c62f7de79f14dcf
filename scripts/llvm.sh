#!/bin/sh
# Says which LLVM (19 to 22, the newest first) is installed with its development files: prints its major version.
# Exit status 1 and no output when there is none.
for version in 22 21 20 19; do
    for config in "/usr/lib/llvm-$version/bin/llvm-config" "$(command -v "llvm-config-$version" 2>/dev/null)"; do
        [ -x "$config" ] || continue
        include=$("$config" --includedir)
        libdir=$("$config" --libdir)
        if [ -e "$include/llvm-c/Core.h" ] && ls "$libdir"/libLLVM*.so* >/dev/null 2>&1; then
            echo "$version"
            exit 0
        fi
    done
done
exit 1
