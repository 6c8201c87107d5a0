#!/usr/bin/env bash
# Packs what a bare x86-64 Linux host needs to run Gregale, GPU included, with only the NVIDIA driver
# installed: a Java run time, the application, the kernels; with --tests also the tests tagged gpu.
#
#   scripts/bundle.sh [--tests] DIR     after `mvn package` (or test-compile, with --tests)
#
# Writes DIR/jre.tar.xz (kept if it is there: it only changes with the JDK) and DIR/app.tar.xz. On
# the other host, in one folder:
#
#   tar xf jre.tar.xz && tar xf app.tar.xz
#   ./app/gregale serve                 or any other command
#   ./app/gpu-tests [CLASS ...]         with --tests; from the folder that holds src/
#   ./app/http-load URL MODEL 64 512 256   with --tests: streams, prompt and output tokens of each
#   ./app/http-load URL MODEL 64 512 256 mixed 20   the same, one request after another for 20 s
set -euo pipefail
cd "$(dirname "$0")/.."
tests=
[ "${1:-}" = --tests ] && { tests=1; shift; }
out=$(realpath -m "${1:?usage: scripts/bundle.sh [--tests] DIR}")
jdk=${JDK25_HOME:-/usr/lib/jvm/temurin-25-jdk-amd64}
flags="--add-modules=jdk.incubator.vector --enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow"
modules=java.base,java.compiler,java.desktop,java.instrument,java.logging,java.management,java.naming,java.net.http,java.prefs,java.scripting,java.security.jgss,java.sql,java.xml,jdk.crypto.ec,jdk.incubator.vector,jdk.jcmd,jdk.jfr,jdk.management,jdk.net,jdk.unsupported,jdk.zipfs
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out" "$work/app/lib"

if [ ! -e "$out/jre.tar.xz" ]; then
  # Not compressed by jlink: xz packs the raw image to 23 MB, jlink's own compression ends at 38 MB.
  "$jdk/bin/jlink" --add-modules "$modules" --strip-debug --no-man-pages --no-header-files --generate-cds-archive \
    --compress=zip-0 --add-options="$flags" --output "$work/jre"
  tar -C "$work" -c jre | xz -T0 -9e > "$out/jre.tar.xz"
fi

mvn -q -B -ntp dependency:build-classpath -Dmdep.outputFile="$work/classpath" -DincludeScope=runtime
if [ -n "$tests" ]; then
  mvn -q -B -ntp dependency:build-classpath -Dmdep.outputFile="$work/junit" -DincludeScope=test \
    -DincludeGroupIds=org.junit,org.junit.platform,org.junit.jupiter,org.opentest4j,org.assertj
  printf ':%s' "$(cat "$work/junit")" >> "$work/classpath"
fi
# Jars without other platforms' natives, stored: xz finds more in raw bytes than in deflated ones.
python3 - "$work/classpath" "$work/app/lib" <<'PYTHON'
import os, re, sys, zipfile
foreign = re.compile(r"(win|windows|osx|mac|darwin|aarch64|arm|cu12|libJNvPTXCompiler|libJNvrtc|libJCudaRuntime)")
native = re.compile(r"\.(so|dll|dylib|jnilib)(\.\d+)*$")
for jar in open(sys.argv[1]).read().split(":"):
    name = os.path.basename(jar)
    if not jar.endswith(".jar") or name.startswith(("google-java-format", "spring-boot-configuration-processor")):
        continue
    with zipfile.ZipFile(jar) as old, zipfile.ZipFile(os.path.join(sys.argv[2], name), "w") as new:
        for entry in old.infolist():
            if native.search(entry.filename) and foreign.search(entry.filename):
                continue
            new.writestr(zipfile.ZipInfo(entry.filename, entry.date_time), old.read(entry))
PYTHON
cp -r target/classes "$work/app/classes"
cat > "$work/app/gregale" <<'SCRIPT'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
export RUST_FLAVOR=cpu
exec "${GREGALE_JAVA:-$here/../jre/bin/java}" $JAVA_OPTS -cp "$here/classes:$here/lib/*" dev.gregale.GregaleApplication "$@"
SCRIPT
if [ -n "$tests" ]; then
  cp -r target/test-classes "$work/app/test-classes"
  rm -rf "$work/app/test-classes/golden"
  for program in gpu-tests:GpuTests http-load:HttpLoad; do
    cat > "$work/app/${program%:*}" <<SCRIPT
#!/bin/sh
here=\$(cd "\$(dirname "\$0")" && pwd)
exec "\${GREGALE_JAVA:-\$here/../jre/bin/java}" \$JAVA_OPTS -cp "\$here/test-classes:\$here/classes:\$here/lib/*" dev.gregale.${program#*:} "\$@"
SCRIPT
  done
fi
find "$work/app" -maxdepth 1 -type f -exec chmod +x {} +
tar -C "$work" -c app | xz -T0 -9 > "$out/app.tar.xz"
ls -l "$out"
