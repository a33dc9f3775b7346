/** A search through what a page lists. */
export function SearchField(props: {
  words: string;
  hint: string;
  value: string;
  find: (search: string) => void;
}) {
  return (
    <label class="search">
      <span class="field-words">{props.words}</span>
      <input
        type="search"
        value={props.value}
        placeholder={props.hint}
        autocomplete="off"
        spellcheck={false}
        maxLength={200}
        onInput={(event) => props.find(event.currentTarget.value)}
      />
    </label>
  );
}
