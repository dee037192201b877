"""Writes tests/golden/tokenizer/: small tokenizers, and the ids that the `tokenizers` package gives to many strings.

    python scripts/golden/tokenizer.py SMOLLM2_FOLDER

gpt2/tokenizer.json and llama3/tokenizer.json are trained here on a small text, in the manner of those models; variants.json patches
them (JSON merge patch) to reach further settings. *_cases.json hold [text, ids, ids with special tokens].
"""

import json
import pydoc_data.topics
import random
import sys
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "tokenizer"
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXTS = [
    "", " ", "a", "Hello, world!", "The capital of France is Paris. The capital of Germany is",
    "I'm sure they'll say it's what we'd've done; DON'T SHOUT, IT'S LATE, WE'LL SEE, it'ſ", "don’t ‘quote’ “twice”",
    "def f(x):\n    return x ** 2 + 1  # square\n\n\nclass A:\n\tdef __init__(self):\n\t\tpass\n",
    "for (int i = 0; i < n; ++i) { a[i] += b[i] * 0x7fff'ffff; }\r\n\r\n", "a  b   c    d     e", "   leading", "trailing   ",
    "\n\n\n", " \n \n ", "\t\t\tx", "a\r\nb\rc\n", "x \u00a0 y \u3000 z\u2003\u2009w\u1680v\u180eu\u200bt\u0085s\u2028r\u2029q\ufeffp",
    "\u180e", " \u180e ", "a\u180e\u180eb \u180e", "1234567890", "3.14159 2,718 1e-10 0b1011 ½ ² Ⅷ 四 ١٢٣ १२३ ๓๔ 𝟘𝟙 ①②", "2024-05-06T07:08:09Z",
    "12 345 6789 01234567", "naïve café résumé Ångström ÀÉÎÕÜ ßtraße", "e\u0301a\u0308 o\u0302\u0323", "Привет, мир! Это тест.", "Γειά σου Κόσμε",
    "שלום עולם", "مرحبا بالعالم، كيف الحال؟", "नमस्ते दुनिया", "สวัสดีชาวโลก", "你好，世界。今天天气很好！", "こんにちは世界、カタカナ ﾊﾝｶｸ",
    "안녕하세요 세계", "Xin chào thế giới", "𝓗𝓮𝓵𝓵𝓸 𝔘𝔫𝔦", "👩‍👩‍👧‍👦 👍🏽 🇩🇪🇫🇷 ❤️ 🏳️‍🌈 🤷🏻‍♀️", "😀😀😀😀", "a😀b 😀 c", "\u0000\u0001\u0002\u0004\u0006\u0013\u001f\u007f",
    "nul\u0000in\u0000side", "bell\u0007 back\u0008 esc\u001b[0m", "\ufffd\ufffe\uffff\U0010ffff", "\ue000\uf8ff private", "<|endoftext|>", "<|endoftext|><|endoftext|>",
    "Hello<|endoftext|>World", "text <|im_start|>user\nHi<|im_end|>\n", "<|im_start|", "<|endoftext|", "|<|endoftext|>|", "<|begin_of_text|>x<|eot_id|> <|eot_id|>",
    "<file_sep>a<filename>b<repo_name>", "<reponame><repo", "--- === *** ### !!! ??? ...", "https://example.org/a/b?c=d&e=f#g", "user@example.com",
    "snake_case camelCase PascalCase SCREAMING_CASE kebab-case", "\\n \\t \\\\ \"q\" `b`", "$100 €50 £20 ¥10 ₿1", "∀x∈ℝ: x²≥0 ∑∫√∞≠≈", "→←↑↓⇒⇐ ■□●○",
    "ǅ ǈ ǋ ʰ ˈ ª º", "\u0300\u0301 alone", "a\u0300\u0301\u0302b", "x" * 70, "ab" * 60, " " * 90, "\n" * 60, "=" * 100, "0" * 55, "é" * 50, "的" * 60, "😀" * 25,
    "the " * 40, "Aa" * 33 + "1" * 7 + " " * 5 + "\n" * 3, "\u1c89\u1c8a \ua7cb\U000105c0 \U00010d40\U00010d41 \U000116d0 \u0897 \U0002ebf0\U00031350 \U0001fae8\u2427 \U00011bf0",
    "x\U00031350y\U000323afz 1\U00010d442", "\u1b4e\u1b4f\u1b7f \U00016d40", "<mask>", "a <mask> b", " <mask>  c", "a\n<mask>\n\nb", "<keep><mask> <keep>", "<keep> word<keep>word",
]


def random_texts(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    alphabets = ["abcdefghij ", "ab '", "0123456789 .,", " \t\n\r\u00a0\u3000", "éüßñ çà", "你好世界中文 ", "абвгд ", "😀👍🏽\u200d❤️", "'sStTrRvVeElLmMdD ", "!?#$%&()*+ ",
                 "\u0000\u0001\u0004\u0013\u001c\u001f ", "\u0e01\u0e34\u0e48 ", "\u0915\u094d\u0937 "]
    texts = []
    for _ in range(count):
        parts = []
        for _ in range(rng.randint(1, 6)):
            if rng.random() < 0.2:
                parts.append("".join(chr(rng.choice([rng.randint(0, 0xD7FF), rng.randint(0xE000, 0x10FFFF)])) for _ in range(rng.randint(1, 5))))
            else:
                parts.append("".join(rng.choices(rng.choice(alphabets), k=rng.randint(1, 12))))
        texts.append("".join(parts))
    return texts


def cases(tokenizer: Tokenizer, texts: list[str]) -> list:
    return [[t, tokenizer.encode(t, add_special_tokens=False).ids, tokenizer.encode(t).ids] for t in texts]


def write(name: str, value, indent: int | None = None) -> None:
    path = OUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(value, list):
        text = "[\n" + ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in value) + "\n]\n"
    else:
        text = json.dumps(value, ensure_ascii=False, indent=indent, separators=(",", ":") if indent is None else None) + "\n"
    path.write_text(text, encoding="utf-8")


def train(pre_tokenizer, special: list[str], vocab_size: int) -> Tokenizer:
    topics = pydoc_data.topics.topics
    corpus = [topics[key][:3000] for key in sorted(topics)[:30]] + TEXTS
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=special, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def gpt2_style() -> dict:
    tokenizer = train(pre_tokenizers.ByteLevel(add_prefix_space=False), ["<|endoftext|>"], 1500)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    value = json.loads(tokenizer.to_str())
    value["model"]["merges"] = [" ".join(pair) for pair in value["model"]["merges"]]  # as files of that time
    return value


def llama3_style() -> dict:
    split = pre_tokenizers.Split(Regex(LLAMA3_PATTERN), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = train(pre_tokenizers.Sequence([split, byte_level]), [], 1500)
    value = json.loads(tokenizer.to_str())
    # A word of the vocabulary that no merge makes: only ignore_merges reaches it.
    vocabulary = value["model"]["vocab"]
    vocabulary["Ġfunctionals"] = len(vocabulary)
    vocabulary["xqzj"] = len(vocabulary)
    value["model"]["ignore_merges"] = True
    tokenizer = Tokenizer.from_str(json.dumps(value))
    tokenizer.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    bos = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1", special_tokens=[("<|begin_of_text|>", bos)]),
    ])
    return json.loads(tokenizer.to_str())


def split_step(pattern: dict, behavior: str, invert: bool = False) -> dict:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}, byte_level]}}


def added(first_id: int, *tokens) -> dict:
    fields = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return {"added_tokens": [{"id": first_id + i, **fields, **token} for i, token in enumerate(tokens)]}


def variants(gpt2: dict) -> list:
    size = len(gpt2["model"]["vocab"])
    merged = {half for merge in gpt2["model"]["merges"] for half in merge.split(" ")}
    lone = [token for token in gpt2["model"]["vocab"] if len(token) == 1 and token not in merged and not "0" <= token <= "9"]
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    template = {"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": "B", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "E", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"B": {"id": "B", "ids": [3, 4], "tokens": ["x", "y"]}, "E": {"id": "E", "ids": [5], "tokens": ["z"]}}}
    return [
        ["prefix space", {"pre_tokenizer": byte_level}],
        ["prefix space on every piece", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": False}, byte_level]}}],
        ["individual digits", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]}}],
        ["nested sequences", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}]}, byte_level]}}],
        ["no regex", {"pre_tokenizer": {**byte_level, "add_prefix_space": False, "use_regex": False}}],
        ["no pre-tokenizer", {"pre_tokenizer": None}],
        ["string removed", split_step({"String": " "}, "Removed")],
        ["string of regex signs isolated", split_step({"String": ".."}, "Isolated")],
        ["regex removed", split_step({"Regex": r"\s+|[.,]"}, "Removed")],
        ["regex removed inverted", split_step({"Regex": r"\p{L}+|\d+"}, "Removed", True)],
        ["regex isolated inverted", split_step({"Regex": r"\p{L}+"}, "Isolated", True)],
        ["merged with previous", split_step({"Regex": r"[\s\p{P}]"}, "MergedWithPrevious")],
        ["merged with next", split_step({"Regex": r"[\s\p{P}]"}, "MergedWithNext")],
        ["merged with next inverted", split_step({"Regex": r"\p{L}"}, "MergedWithNext", True)],
        ["contiguous", split_step({"Regex": r"[\s\d]"}, "Contiguous")],
        ["empty matches", split_step({"Regex": r"(?=\p{Lu})"}, "Isolated")],
        ["empty matches merged", split_step({"Regex": r"a*"}, "MergedWithPrevious")],
        ["lookbehind, lazy, counted", split_step({"Regex": r"(?<=a)b{1,2}?|\x{e9}+?|(?<!\s)\S{3,}|.\n"}, "Isolated")],
        ["one token per word of punctuation", split_step({"Regex": r"\p{S}+|\p{M}++|[^\S\r\n]+|\p{Lu}?\p{Ll}*+"}, "Isolated")],
        ["template with an end", {"post_processor": template}],
        ["template behind ByteLevel", {"post_processor": {"type": "Sequence", "processors": [{**byte_level, "use_regex": True}, template]}}],
        ["stripping tokens", added(size, {"content": "<mask>", "lstrip": True, "rstrip": True, "special": True}, {"content": "<keep>", "lstrip": True}, {"content": "  "})],
        ["longest and leftmost tokens", added(size, {"content": "<|endo"}, {"content": "endoftext|>World"}, {"content": "the t"}, {"content": "the the"}, {"content": "ïv"})],
        ["tokens found in what others left", added(size, {"content": "ell", "normalized": True}, {"content": "He"}, {"content": "lo,", "normalized": True}, {"content": "o<"})],
        ["vocabulary that lacks bytes", {"model": {"vocab": {token: None for token in lone}}}],
    ]


NFC_TEXTS = [
    "e\u0301 \u00e9 e\u0323\u0301 e\u0301\u0323 \u1eb9\u0301", "\u212b \u2126 \u212a \u1f71 \u0374 \u037e \u0387", "\u1100\u1161\u11a8 \uac00\u11a8 \u1100\u1161 \uac01",
    "\u0958\u0959 \u0915\u093c \ufb1d \ufb2e \u0f43", "\u2adc \U0001d15e \U0001d160", "a\u0301\u0345\u0300\u0323", "\u0301a", "\u0301", " \u0301 \u0323\u0301",
    "\u0344 \u0343 \u0340\u0341", "\u09c7\u09be \u0b47\u0b57 \u0dd9\u0dcf\u0dca", "\U00011935\U00011930 \U00011938", "e\u0898\u0301 e\u08cb\u0301 a\u0345\u1ac1\u0301",
    "\uf900\ufa10\U0002f800", "cafe\u0301s, e\u0301l, <e\u0301> <\u00e9>", "\u0041\u030a\u0301 \u01fa \u00c5\u0301", "A\u0300" * 40, "\u0323\u0301" * 40, "\u0301\u0323\u0345" * 30,
]


def nfc_variants(gpt2: dict, llama3: dict) -> list:
    """Tokenizers whose text is normalised first: [name, style, patch]."""
    size = len(gpt2["model"]["vocab"])
    nfc = {"normalizer": {"type": "NFC"}}
    tokens = added(size, {"content": "<e\u0301>", "normalized": True}, {"content": "\u212b", "normalized": False}, {"content": "fe\u0301s", "normalized": True, "lstrip": True})
    return [
        ["NFC", "gpt2", nfc],
        ["NFC in nested sequences", "gpt2", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": [{"type": "NFC"}]}, {"type": "NFC"}]}}],
        ["NFC and a Split pattern", "llama3", nfc],
        ["NFC and added tokens", "gpt2", {**nfc, **tokens}],
        ["added tokens without NFC", "gpt2", tokens],
    ]


def merge_patch(value, patch):
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for key, entry in patch.items():
        if entry is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), entry)
    return result


def main() -> None:
    random.seed(0)
    gpt2, llama3 = gpt2_style(), llama3_style()
    for name, value in (("gpt2", gpt2), ("llama3", llama3)):
        write(f"{name}/tokenizer.json", value)
        write(f"{name}_cases.json", cases(Tokenizer.from_str(json.dumps(value)), TEXTS + [" functionals xqzj", "xqzj xqzjs"] + random_texts(150, 1)))
    smollm2 = Tokenizer.from_file(str(Path(sys.argv[1]) / "tokenizer.json"))
    write("smollm2_cases.json", cases(smollm2, TEXTS + random_texts(150, 2)))
    texts = [t for t in TEXTS if len(t) < 90] + random_texts(40, 3)
    rows = []
    for name, patch in variants(gpt2):
        tokenizer = Tokenizer.from_str(json.dumps({"post_processor": None, "normalizer": None, "pre_tokenizer": None, **merge_patch(gpt2, patch)}))
        chosen = [t for i, t in enumerate(texts) if t in ("", "a") or "<" in t or (i + len(rows)) % 16 == 0]
        rows.append([name, patch, cases(tokenizer, chosen)])
    write("variants.json", rows)
    rows = []
    for name, style, patch in nfc_variants(gpt2, llama3):
        value = merge_patch({"gpt2": gpt2, "llama3": llama3}[style], patch)
        rows.append([name, style, patch, cases(Tokenizer.from_str(json.dumps(value)), NFC_TEXTS + random_texts(40, 4))])
    write("nfc.json", rows)


if __name__ == "__main__":
    main()
