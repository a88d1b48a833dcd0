# Prints the targets of a Makefile in groups: `##@ group` lines, and `target: … ## text` rules.
# Patterns are shown with their variable part as a list: start-{core,inference,…}.
BEGIN {
  printf "usage: make <target> [ENVIRONMENT=development] [SERVICE=…]\n"
  names["STACKS"] = "core,inference,ai,ui,testing,monitoring"
  names["ENVIRONMENTS"] = "dev,staging,prod,testing-env"
  names["GPU_STACKS"] = "inference,ai"
  names["KINDS"] = "db,cache,models,logs,test-results"
}
/^LATER_[A-Z]+ := / || continued {
  key = continued ? continued : $1
  text = $0
  if (!continued) sub(/^[A-Z_]+ := /, "", text)
  continued = (text ~ /\\$/) ? key : ""
  sub(/\\$/, "", text); gsub(/^[ \t]+/, "", text)
  later[key] = later[key] " " text
  next
}
/^##@ / { printf "\n%s\n", substr($0, 5); next }
/^[^#\t=]+:.*## / {
  split($0, halves, " ## ")
  target = halves[1]; sub(/:( .*)?$/, "", target); sub(/: .*/, "", target)
  while (match(target, /\$\([A-Z_]+:%=[a-z-]*%[a-z-]*\)/)) {
    call = substr(target, RSTART + 2, RLENGTH - 3)
    split(call, parts, ":%="); form = parts[2]
    sub(/%/, "{" names[parts[1]] "}", form)
    target = substr(target, 1, RSTART - 1) form substr(target, RSTART + RLENGTH)
  }
  if (match(target, /\$\(LATER_[A-Z]+\)/)) {
    key = substr(target, 3, length(target) - 3)
    target = later[key]
    while (match(target, /\$\([A-Z_]+:%=[a-z-]*%[a-z-]*\)/)) {
      call = substr(target, RSTART + 2, RLENGTH - 3)
      split(call, parts, ":%="); form = parts[2]
      sub(/%/, "{" names[parts[1]] "}", form)
      target = substr(target, 1, RSTART - 1) form substr(target, RSTART + RLENGTH)
    }
  }
  gsub(/^ +/, "", target)
  if (length(target) > 34) printf "  %s\n  %-34s  %s\n", target, "", halves[2]
  else printf "  %-34s  %s\n", target, halves[2]
}
