/** A lost lease or a shutdown must not end the process just because somebody did not wait for a call. */
export function handled<T>(call: () => Promise<T>): Promise<T> {
  let promise: Promise<T>;
  try {
    promise = call();
  } catch (error) {
    // As if it were an async function.
    promise = Promise.reject(error);
  }
  promise.catch(() => {});
  return promise;
}
