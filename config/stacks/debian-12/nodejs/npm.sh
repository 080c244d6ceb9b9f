# Debian's npm depends on 330 packages, 144 MB in 24,000 files, since each brings what it was ever built or tested with:
# dpkg needs half a minute for them, and the commit as long again. They are plain JavaScript without maintainer
# scripts, so they are unpacked without dpkg, and what npm and node-gyp do not reach is thrown away: 10 MB stay.

ls /usr/share/nodejs >/dev/shm/of-nodejs
apt-get -qq -y --download-only install npm
apt-get -qq --simulate install npm |
    sed -n 's/^Inst \(node-[^ ]*\|npm\) (\([^ ]*\) .*/\1_\2_all.deb/p' | sed 's/:/%3a/' >/dev/shm/debs
while read -r deb; do
    dpkg-deb --fsys-tarfile "/var/cache/apt/archives/$deb"
done </dev/shm/debs | tar -x --ignore-zeros -C / --exclude='./usr/share/doc' --exclude='./usr/share/man'

cat >/dev/shm/keep.js <<'EOF'
const fs = require("fs")
const root = "/usr/share/nodejs"
const ofNodejs = fs.readFileSync("/dev/shm/of-nodejs", "utf8").split("\n")
const keep = new Set()

// The packages in a folder, with those of its scopes. `@npmcli/node_modules` is a link, and no package.
function names(folder) {
  if (!fs.existsSync(folder)) return []
  return fs.readdirSync(folder).flatMap((name) => name.startsWith("@")
    ? fs.readdirSync(`${folder}/${name}`).filter((part) => part !== "node_modules").map((part) => `${name}/${part}`)
    : [name])
}

// What a package asks for, and what the packages nested in it ask for.
function follow(folder) {
  if (!fs.existsSync(`${folder}/package.json`)) return
  const { dependencies, optionalDependencies, peerDependencies } = JSON.parse(fs.readFileSync(`${folder}/package.json`))
  names(`${folder}/node_modules`).forEach((name) => follow(`${folder}/node_modules/${name}`))
  Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies }).forEach(reach)
}

function reach(name) {
  if (keep.has(name)) return
  keep.add(name)
  follow(`${root}/${name}`)
}

["npm", "node-gyp"].forEach(reach)
names(root)
  .filter((name) => !keep.has(name) && !ofNodejs.includes(name.split("/")[0]))
  .forEach((name) => fs.rmSync(`${root}/${name}`, { recursive: true }))
EOF
node /dev/shm/keep.js
npm --version >/dev/null
find /usr/bin -xtype l -delete
