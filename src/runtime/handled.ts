/** What `call` returns; what it throws is a rejection, as if it were an async function. */
export function promised<T>(call: () => Promise<T>): Promise<T> {
  try {
    return call();
  } catch (error) {
    return Promise.reject(error);
  }
}

/** A lost lease or a shutdown must not end the process just because somebody did not wait for a call. */
export function handled<T>(call: () => Promise<T>): Promise<T> {
  const promise = promised(call);
  promise.catch(() => {});
  return promise;
}
