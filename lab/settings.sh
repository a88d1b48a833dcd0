# Tells mmstack to use the lab's images, by the setting an operator would make.
# Sourced by lab.sh.

SETTINGS_FILE=$(dirname "$LAB_STATE")/settings.yaml
SETTINGS_LINE="image_overrides: lab/images.yaml # written by lab/lab.sh"

settings_up() {
  if [[ ! -e $SETTINGS_FILE ]]; then
    mkdir -p -m 700 "$(dirname "$SETTINGS_FILE")"
    (umask 077 && printf '%s\n' "$SETTINGS_LINE" >"$SETTINGS_FILE")
    say "settings: mmstack uses the lab's images (.mmstack/settings.yaml)"
  elif ! grep -q '^image_overrides:' "$SETTINGS_FILE"; then
    say "settings: .mmstack/settings.yaml is yours and names no image_overrides; for the lab's images add: image_overrides: lab/images.yaml"
  fi
}

settings_down() {
  if [[ -e $SETTINGS_FILE && $(<"$SETTINGS_FILE") == "$SETTINGS_LINE" ]]; then
    rm "$SETTINGS_FILE"
    say "settings: mmstack uses the schema's own images again"
  fi
}
