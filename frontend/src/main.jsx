import { createRoot } from "react-dom/client";
import { App } from "./App.jsx";
import { createApp } from "./createApp.js";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/claims.css";
import "./styles/people.css";

createRoot(document.getElementById("root")).render(<App app={createApp()} />);
