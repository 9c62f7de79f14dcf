//! Which newlines mean something. Directly inside `{ … }` a newline separates two lines unless one of them is
//! evidently unfinished; anywhere else it is a blank. The grammar then needs no rule about line breaks.

use super::lex::{Kind, Token, is_name};

/// The tokens that the grammar sees: no comments, and only newlines that separate lines of a body.
pub fn lines(source: &str, tokens: &[Token]) -> Vec<Token> {
    let mut kept: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut open: Vec<&str> = Vec::new();
    let mut newline = None;
    for (index, &token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Doc | Kind::Comment => continue,
            Kind::Newline => {
                newline = newline.or(Some(token));
                continue;
            }
            _ => {}
        }
        if let (Some(newline), Some(&before)) = (newline.take(), kept.last())
            && open.last() == Some(&"{")
            && before.kind != Kind::Open
            && (opens_statement(source, &tokens[index..])
                || !(awaits_more(before, source) || continues(token, source)))
        {
            kept.push(newline);
        }
        match token.kind {
            Kind::Open => open.push(token.text(source)),
            Kind::Close => drop(open.pop()),
            _ => {}
        }
        kept.push(token);
    }
    kept
}

/// Whether the line is a statement by its keyword, whatever the line before left open.
fn opens_statement(source: &str, line: &[Token]) -> bool {
    let is_keyword = matches!(line[0].text(source), "param" | "batch" | "let" | "state" | "require");
    is_keyword && line.get(1).is_some_and(|&next| is_name(next, source))
}

/// Whether a line cannot end with this token.
pub fn awaits_more(token: Token, source: &str) -> bool {
    match token.kind {
        Kind::Open | Kind::Operator => true,
        Kind::Mark => token.text(source) != "..",
        Kind::Word => matches!(token.text(source), "if" | "else" | "and" | "or" | "not" | "in"),
        _ => false,
    }
}

/// Whether a line that begins with this token continues the one before. `- b` does, `-b` is a line of its own.
fn continues(token: Token, source: &str) -> bool {
    let text = token.text(source);
    match token.kind {
        Kind::Close | Kind::Mark => text != "..",
        Kind::Open => text == "{",
        Kind::Operator if text == "-" => source[token.end..].starts_with([' ', '\t', '\n', '\r']),
        Kind::Operator => true,
        Kind::Word => match text {
            "if" | "else" | "and" | "or" | "in" => true,
            "as" | "like" | "running" | "from" => !source[token.end..].trim_start().starts_with(['=', '(']),
            _ => false,
        },
        _ => false,
    }
}

/// The text that the grammar parses: the kept tokens where they stood from byte `start` on, blanks between them.
pub fn text(source: &str, start: usize, kept: &[Token]) -> String {
    let mut text = String::new();
    for token in kept {
        text.extend(std::iter::repeat_n(' ', token.start - start - text.len()));
        text.push_str(if token.kind == Kind::Newline { "\n" } else { token.text(source) });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::lex;
    use super::*;

    fn laid_out(source: &str) -> String {
        text(source, 0, &lines(source, &lex::tokens(source)))
    }

    #[test]
    fn headers_and_parentheses_break_anywhere() {
        assert_eq!(laid_out("op a(c)\n  (x) = f(\nx)"), "op a(c)   (x) = f( x)");
    }

    #[test]
    fn lines_of_a_body_stay_apart() {
        assert_eq!(laid_out("{\na\n(b)\n}"), "{ a\n(b) }");
        assert_eq!(laid_out("{ a\n\n// note\n[b] }"), "{ a\n         [b] }");
    }

    #[test]
    fn operators_continue_on_either_side() {
        assert_eq!(laid_out("{ a\n|> b }"), "{ a |> b }");
        assert_eq!(laid_out("{ a +\nb }"), "{ a + b }");
        assert_eq!(laid_out("{ a\n- b }"), "{ a - b }");
        assert_eq!(laid_out("{ a\n-b }"), "{ a\n-b }");
    }

    #[test]
    fn conditions_continue() {
        assert_eq!(laid_out("{ a\nif b\nelse c }"), "{ a if b else c }");
        assert_eq!(laid_out("{ a\nfrom = b }"), "{ a\nfrom = b }");
    }
}
