// The package is ESM; require() of it works too.
const { ResNet18 } = require("resnet-native");
process.stdout.write(String(new ResNet18({ inChannels: 1 }).numParameters));
