// Exits 0 when version argv[2] satisfies range argv[3], 1 when not. semver is a part of Debian's npm.
const semver = require("/usr/share/nodejs/semver")
process.exit(semver.satisfies(process.argv[2], process.argv[3]) ? 0 : 1)
