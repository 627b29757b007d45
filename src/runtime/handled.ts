/** A lost lease or a shutdown must not end the process just because somebody did not wait for a call. */
export function handled<T>(call: () => Promise<T>): Promise<T> {
  const promise = call();
  promise.catch(() => {});
  return promise;
}
