// One contender of W1 and W2 in a process of its own: `child.mjs NAME PLACE`. It answers one call after another.
const [, , name, place] = process.argv;
const { open } = await import(`./${name}.mjs`);
const contender = await open(JSON.parse(place));

process.on('message', ({ call, args }) => {
  contender[call](...args).then(
    (value) => process.send({ value }),
    (error) => process.send({ error: String(error?.stack ?? error) }),
  );
});
process.send('open');
