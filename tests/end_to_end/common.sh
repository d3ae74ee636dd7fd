# What the end-to-end tests share: sourced as `. common.sh BIN_FOLDER`, after `set -euo pipefail`. It leaves the shell in an
# empty folder that is removed at the end.
bin=$1
trained=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../examples/demo" && pwd)/shapes-silu.pt    # a small network for what yolo-shapes writes
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() { echo "FAILED: $*" >&2; exit 1; }
has() { grep -q -- "$2" "$1" || { cat "$1" >&2; fail "no \"$2\" in $1"; }; }            # has FILE TEXT
files() { find "$1" -name "$2" | wc -l; }                                              # files FOLDER PATTERN
number() { sed -n "s/^  \(  \)\?\"$2\": \([0-9.e-]*\),*\$/\2/p" "$1" | head -n 1; }   # number FILE KEY, of the object or one in it
near() { awk -v a="$1" -v b="$2" -v by="$3" 'BEGIN { d = a - b; exit !(a != "" && b != "" && d <= by && d >= -by) }'; }
refused() {                    # refused STATUS TEXT COMMAND...: ends with STATUS and says TEXT
    local status=0 wanted=$1 text=$2
    shift 2
    "$@" > out.txt 2> err.txt || status=$?
    [ "$status" = "$wanted" ] || { cat err.txt >&2; fail "status $status instead of $wanted: $*"; }
    has err.txt "$text"
}
